// Package apply changes a mesh in a cluster: it plans against the objects that are there, backs them up, writes, and takes
// back. With its command line it is the only part of Spanloom that writes to a cluster, and it does so with the user's own
// kubeconfig.
//
// What is written is what the plan shows. An object of our own is a server-side apply of the field manager "spanloom"; one
// that others wrote gets a merge patch of what changes, bound to the version that was planned, because an apply would take
// parts away that others wrote; a document within a string (data.mesh) is edited and written by an update. Each object is in the
// backup before the first of them is written, and each step is on the disk before and after it.
package apply

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/mesh/plan"
)

// Options of an apply or a rollback.
type Options struct {
	Backups        string // the folder of all backups
	ForceOwned     bool   // write what Helm, Argo CD, Flux or an operator keeps
	ForceConflicts bool   // take over fields that others took from us
	DryRun         bool   // end after the API server's dry run
	Now            func() time.Time
	Say            func(format string, args ...any) // what is done, a line each
	Confirm        func(*plan.Plan) (bool, error)   // asked when the dry run went well; nil: yes
}

// tries bounds how often an object is planned anew because somebody wrote it meanwhile.
const tries = 5

// ErrOwned says that somebody keeps an object and would undo the change.
var ErrOwned = errors.New("somebody else keeps what would be changed")

// work is one apply.
type work struct {
	c    *Client
	o    Options
	look func(ctx context.Context) (*Planned, error)
}

// Apply makes it so, and gives the record; nil if nothing was to be done. look reads and plans, as often as others write at the
// same time. One that was interrupted is gone on with: its backup stays the one to return to.
func Apply(ctx context.Context, c *Client, look func(ctx context.Context) (*Planned, error), o Options) (*Record, error) {
	w := &work{c: c, o: o, look: look}
	release, err := lock(o.Backups)
	if err != nil {
		return nil, err
	}
	defer release()
	cluster, err := c.Cluster(ctx)
	if err != nil {
		return nil, err
	}
	rec, err := unfinished(o.Backups, cluster)
	if err != nil {
		return nil, err
	}
	p, err := look(ctx)
	if err != nil {
		return nil, err
	}
	if !o.ForceOwned {
		if err := owned(p.Plan); err != nil {
			return nil, err
		}
	}
	if len(p.Plan.Changes) == 0 && rec == nil {
		return nil, nil
	}
	if err := w.rehearse(ctx, p); err != nil {
		return nil, err
	}
	if o.DryRun {
		return nil, nil
	}
	if o.Confirm != nil && len(p.Plan.Changes) > 0 {
		if yes, err := o.Confirm(p.Plan); err != nil || !yes {
			return nil, err
		}
	}
	if rec != nil {
		o.Say("the apply of %s was interrupted: going on with it, its backup stays the one to return to", rec.Name())
	} else if rec, err = newRecord(o.Backups, cluster, c.Server(), o.Now()); err != nil {
		return nil, err
	}
	if err := w.backUp(ctx, rec, p); err != nil {
		return nil, err
	}
	o.Say("backup: %s", rec.Dir())
	for _, x := range p.todo {
		if err := w.step(ctx, rec, x); err != nil {
			return rec, interrupted(rec, err)
		}
	}
	rec.State = Done
	if err := rec.save(); err != nil {
		return rec, err
	}
	return rec, w.stands(ctx)
}

func unfinished(backups, cluster string) (*Record, error) {
	all, err := Records(backups, cluster)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	for _, r := range all { // one of several that a rollback goes through may be an older one
		if r.State == Returning {
			return nil, problem.New(problem.Invalid, "the rollback of "+r.Name()+" was interrupted", "end it first: spanloom mesh rollback "+r.Name())
		}
	}
	if last := all[len(all)-1]; last.State == Pending || last.State == Writing {
		return last, nil
	}
	return nil, nil
}

// owned refuses what would be undone.
func owned(p *plan.Plan) error {
	var lines []string
	for _, c := range p.Changes {
		if c.Instead != "" {
			lines = append(lines, fmt.Sprintf("%s: %s", c.Object, c.Instead))
		}
	}
	if lines == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrOwned, problem.New(problem.Invalid, strings.Join(lines, "; "), "`-o patch` prints the change for the repository; --force-owned writes nevertheless, until it is undone"))
}

// rehearse lets the API server say of each change whether it would take it, and asks for the rights to take it back.
func (w *work) rehearse(ctx context.Context, p *Planned) error {
	var failed []error
	for _, x := range p.todo {
		if err := w.rehearseOne(ctx, x); err != nil {
			failed = append(failed, describe(x.id, err))
			if errors.Is(err, errAway) {
				break
			}
			continue
		}
		verb := "update"
		if x.live == nil {
			verb = "delete"
		}
		if ok, err := w.c.may(ctx, verb, x.id); err != nil {
			failed = append(failed, describe(x.id, err))
		} else if !ok {
			failed = append(failed, describe(x.id, problem.New(problem.Forbidden, fmt.Sprintf("no right to %s it: a rollback would not be possible", verb), "ask for that right too")))
		}
	}
	if failed != nil {
		return fmt.Errorf("nothing was changed: %w", errors.Join(failed...))
	}
	return nil
}

func (w *work) rehearseOne(ctx context.Context, x *todo) error {
	var err error
	x.after, _, err = w.c.write(ctx, x.id, x.how, x.body, true, w.o.ForceConflicts)
	return explain(err)
}

// explain says what an answer means and what to do.
func explain(err error) error {
	var r *Refusal
	if !errors.As(err, &r) {
		return err
	}
	switch {
	case len(r.Owners) > 0:
		var who []string
		for _, o := range r.Owners {
			who = append(who, o.Field+" is kept by "+o.Manager)
		}
		return &problem.Problem{Kind: problem.Invalid, Message: "conflict: " + strings.Join(who, ", "), Hint: "agree with them, or take the fields over with --force-conflicts", Err: err}
	case r.Code == http.StatusForbidden && strings.Contains(r.Message, "User "):
		return &problem.Problem{Kind: problem.Forbidden, Message: "no right to read or write it", Hint: "ask for the right, or give somebody who has it what `spanloom mesh render` prints", Err: err}
	case strings.Contains(r.Message, "admission webhook") || strings.Contains(r.Message, "ValidatingAdmissionPolicy"):
		return &problem.Problem{Kind: problem.Invalid, Message: "a policy of this cluster refuses it", Hint: "its message says why; it has to be satisfied or lifted by whoever keeps it", Err: err}
	case r.Code == http.StatusInternalServerError && strings.Contains(r.Message, "failed calling webhook"):
		return &problem.Problem{Kind: problem.Unavailable, Message: "a webhook of this cluster does not answer, and nothing of this kind can be written without it", Hint: "is istiod (or whose webhook it is) running?", Err: err}
	}
	return err
}

// backUp writes the record with all objects as they are now, but for those that an interrupted apply changed already.
func (w *work) backUp(ctx context.Context, rec *Record, p *Planned) error {
	for _, s := range rec.Steps {
		if s.State != Pending && s.State != Writing {
			continue
		}
		live, err := w.c.Get(ctx, s.ID)
		if err != nil {
			return err
		}
		done, err := w.happened(rec, s, live)
		switch {
		case err != nil:
			return err
		case done:
			if err := settle(rec, s, live); err != nil {
				return err
			}
		default:
			s.State = Unneeded // unless it is still to be done, below
		}
	}
	for _, x := range p.todo {
		s := rec.step(x.id)
		if s == nil {
			s = &Step{ID: x.id}
			rec.Steps = append(rec.Steps, s)
		}
		x.step = s
		if err := w.prepare(rec, x); err != nil {
			return err
		}
	}
	rec.State = Writing
	return rec.save()
}

// settle records the end of a step that was done without being recorded. What the dry run answered is what was written, but
// for the uid of a new object.
func settle(rec *Record, s *Step, live Object) error {
	after, err := rec.object(s.After)
	if err != nil {
		return err
	}
	after = patched(after, Object{"metadata": Object{"uid": str(live, "metadata", "uid")}})
	if s.After, err = rec.keep(s, "after", after); err == nil {
		s.State = Done
	}
	return err
}

// prepare keeps the object as it is, and as it will be. What was changed by this record already keeps its first backup.
func (w *work) prepare(rec *Record, x *todo) error {
	s := x.step
	s.How = x.how
	var err error
	if s.State != Done {
		s.Before = ""
		if x.live != nil {
			if s.Before, err = rec.keep(s, "before", x.live); err != nil {
				return err
			}
		}
	}
	s.State = Pending
	s.After, err = rec.keep(s, "after", x.after)
	return err
}

// happened tells whether a step whose end was not recorded was done.
func (w *work) happened(rec *Record, s *Step, live Object) (bool, error) {
	before, err := rec.object(s.Before)
	if err != nil || live == nil {
		return false, err
	}
	if before == nil {
		return s.State == Writing && ours(live), nil
	}
	return wrote(before, live), nil
}

// step writes one object. Somebody who wrote it meanwhile makes a fresh plan of it.
func (w *work) step(ctx context.Context, rec *Record, x *todo) error {
	for try := 1; ; try++ {
		x.step.State = Writing
		if err := rec.save(); err != nil {
			return err
		}
		after, created, err := w.c.write(ctx, x.id, x.how, x.body, false, w.o.ForceConflicts)
		if err == nil {
			if x.live == nil && !created {
				w.o.Say("! %s was made by somebody else in the same moment: what was asked for here stands now", x.id)
			}
			if x.step.After, err = rec.keep(x.step, "after", after); err != nil {
				return err
			}
			x.step.State = Done
			w.o.Say("%s: %s", x.id, map[bool]string{true: "created", false: "changed"}[created])
			return rec.save()
		}
		var r *Refusal
		moved := errors.As(err, &r) && len(r.Owners) == 0 && (r.Code == http.StatusConflict || r.Code == http.StatusNotFound)
		if !moved || try == tries {
			return describe(x.id, explain(err))
		}
		w.o.Say("%s: somebody wrote it meanwhile, planning it anew", x.id)
		p, err := w.look(ctx)
		if err != nil {
			return describe(x.id, err)
		}
		fresh := p.find(x.id)
		if fresh == nil {
			live, err := w.c.Get(ctx, x.id)
			if err != nil {
				return describe(x.id, err)
			}
			if live == nil {
				return describe(x.id, problem.New(problem.NotFound, "it vanished meanwhile, and there is nothing to change any more", "who deletes it? Then run this again"))
			}
			x.step.State = Unneeded
			w.o.Say("%s: it is as it should be, somebody else did it", x.id)
			return rec.save()
		}
		if fresh.change.Instead != "" && !w.o.ForceOwned {
			return describe(x.id, owned(p.Plan))
		}
		fresh.step = x.step
		x = fresh
		if err := w.rehearseOne(ctx, x); err != nil {
			return describe(x.id, err)
		}
		if err := w.prepare(rec, x); err != nil {
			return err
		}
	}
}

// interrupted says how to go on.
func interrupted(rec *Record, err error) error {
	done := 0
	for _, s := range rec.Steps {
		if s.State == Done || s.State == Unneeded {
			done++
		}
	}
	return fmt.Errorf("%w\n%d of %d objects are done. Run the same command again to go on, or `spanloom mesh rollback %s` to go back", err, done, len(rec.Steps), rec.Name())
}

// stands looks again whether somebody undid it.
func (w *work) stands(ctx context.Context) error {
	p, err := w.look(ctx)
	if err != nil {
		return fmt.Errorf("all is written; looking again whether it stands: %w", err)
	}
	for _, x := range p.todo {
		who := "somebody"
		if x.live != nil {
			if names := keepers(x.live, nil); len(names) > 0 {
				who = "one of " + strings.Join(names, ", ")
			}
		}
		return describe(x.id, problem.New(problem.Invalid, "it was written and is already another: "+who+" undoes it", "a GitOps tool or operator keeps it: make the change there"))
	}
	return nil
}
