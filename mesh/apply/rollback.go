package apply

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/spanloom/spanloom/internal/problem"
)

// Rollback takes applies back, the newest first, down to the one that name says (empty: the newest only). Where nobody else
// wrote since, each object is as it was; what others wrote stays, and is said. It can be repeated and interrupted.
func Rollback(ctx context.Context, c *Client, name string, o Options) error {
	release, err := lock(o.Backups)
	if err != nil {
		return err
	}
	defer release()
	cluster, err := c.Cluster(ctx)
	if err != nil {
		return err
	}
	todo, err := chain(o.Backups, cluster, name, c.Server())
	if err != nil {
		return err
	}
	if len(todo) == 0 {
		o.Say("nothing to take back: every backup of this cluster was returned already")
		return nil
	}
	for _, rec := range todo {
		if err := back(ctx, c, rec, o); err != nil {
			return fmt.Errorf("%w\nRun `spanloom mesh rollback %s` again to go on", err, rec.Name())
		}
	}
	return nil
}

// chain are the records to return, newest first.
func chain(backups, cluster, name, server string) ([]*Record, error) {
	all, err := Records(backups, cluster)
	if err != nil {
		return nil, err
	}
	slices.Reverse(all)
	name = strings.TrimSuffix(name[strings.LastIndex(strings.TrimSuffix(name, "/"), "/")+1:], "/") // a path is fine too
	var out []*Record
	found := false
	for _, r := range all {
		if found = r.Name() == name || name == "" && r.State != Returned; r.State != Returned {
			out = append(out, r)
		}
		if found {
			break
		}
	}
	if name != "" && !found {
		var have []string
		for _, r := range all {
			have = append(have, r.Name())
		}
		return nil, &problem.Problem{Kind: problem.NotFound, Field: "BACKUP", Message: fmt.Sprintf("there is no backup %q of the cluster at %s in %s", name, server, backups), Hint: "there are: " + or(strings.Join(have, ", "), "none") + "; --backup-dir says where to look"}
	}
	if len(all) == 0 {
		return nil, &problem.Problem{Kind: problem.NotFound, Field: "--backup-dir", Message: fmt.Sprintf("no backup of the cluster at %s is in %s", server, backups), Hint: "it was made in the folder where `spanloom mesh apply` ran"}
	}
	return out, nil
}

// back returns one record, its last step first.
func back(ctx context.Context, c *Client, rec *Record, o Options) error {
	rec.State = Returning
	if err := rec.save(); err != nil {
		return err
	}
	o.Say("returning to %s", rec.Name())
	for i := len(rec.Steps) - 1; i >= 0; i-- {
		s := rec.Steps[i]
		if s.State == Pending || s.State == Unneeded || s.State == Returned {
			continue // nothing was written
		}
		note, err := backOne(ctx, c, rec, s)
		if err != nil {
			return describe(s.ID, explain(err))
		}
		s.State, s.Note = Returned, note
		o.Say("%s: %s", s.ID, note)
		if err := rec.save(); err != nil {
			return err
		}
	}
	rec.State = Returned
	return rec.save()
}

// backOne returns one object. Somebody who writes it at the same time makes another try.
func backOne(ctx context.Context, c *Client, rec *Record, s *Step) (string, error) {
	before, err := rec.object(s.Before)
	if err != nil {
		return "", err
	}
	after, err := rec.object(s.After)
	if err != nil {
		return "", err
	}
	for try := 1; ; try++ {
		live, err := c.Get(ctx, s.ID)
		if err != nil {
			return "", err
		}
		note, err := returnTo(ctx, c, s, before, after, live)
		var r *Refusal
		if moved := errors.As(err, &r) && (r.Code == http.StatusConflict || r.Code == http.StatusNotFound); !moved || try == tries {
			return note, err
		}
	}
}

func returnTo(ctx context.Context, c *Client, s *Step, before, after, live Object) (string, error) {
	switch {
	case before == nil && live == nil:
		return "gone already", nil
	case before == nil && s.State == Writing && !ours(live):
		return "left: somebody else made it", nil
	case before == nil && s.State != Writing && str(live, "metadata", "uid") != str(after, "metadata", "uid"):
		return "left: somebody made it anew since", nil
	case before == nil && Same(live, after):
		return "deleted, as it was not there before", c.remove(ctx, live)
	case before == nil:
		return withdraw(ctx, c, s, after, live)
	case live == nil:
		_, err := c.create(ctx, s.ID, content(before))
		return "made anew: it had vanished since", err
	}
	from, to := content(after), content(before)
	merged, left := merge3(from, to, content(live), nil)
	target, _ := merged.(map[string]any)
	note := "as it was before"
	if str(live, "metadata", "uid") != str(before, "metadata", "uid") {
		note = "as it was before (somebody made it anew since)"
	}
	if !reflect.DeepEqual(target, to) {
		note = "taken back; left is what others wrote since" + whose(live, differing(to, target))
	}
	if len(left) > 0 {
		note += "; not taken back, because others changed it too: " + strings.Join(left, ", ")
	}
	if reflect.DeepEqual(target, content(live)) {
		return note, ownership(ctx, c, s.ID, before, live)
	}
	// What the server sets and the status stay as they are now.
	body := clone(target)
	if status, ok := live["status"]; ok {
		body["status"] = status
	}
	body = patched(body, Object{"metadata": Object{"resourceVersion": at(live, "metadata", "resourceVersion"), "uid": at(live, "metadata", "uid")}})
	o, _, err := c.write(ctx, s.ID, asPut, body, false, false)
	if err != nil {
		return "", err
	}
	return note, ownership(ctx, c, s.ID, before, o)
}

// ownership gives the fields back to those who kept them, where the whole object is as it was: else the next apply of theirs
// would meet us in a conflict.
func ownership(ctx context.Context, c *Client, id ID, before, live Object) error {
	kept := at(before, "metadata", "managedFields")
	if kept == nil || !Same(before, live) || reflect.DeepEqual(kept, at(live, "metadata", "managedFields")) || str(before, "metadata", "uid") != str(live, "metadata", "uid") {
		return nil
	}
	body := patched(clone(live), Object{"metadata": Object{"managedFields": kept}})
	_, _, err := c.write(ctx, id, asPut, body, false, false)
	return err
}

// scopes say what an object applies to. Without them what others wrote would apply to everything.
var scopes = []string{"selector", "podSelector", "workloadSelector", "targetRef", "targetRefs", "hosts"}

// withdraw takes our part out of an object that we made and others wrote to.
func withdraw(ctx context.Context, c *Client, s *Step, after, live Object) (string, error) {
	meta := Object{"name": s.ID.Name}
	if s.ID.Namespace != "" {
		meta["namespace"] = s.ID.Namespace
	}
	bare := Object{"apiVersion": s.ID.APIVersion, "kind": s.ID.Kind, "metadata": meta}
	from := content(after)
	now, was := content(live), content(after)
	delete(now, "metadata")
	delete(was, "metadata")
	now["apiVersion"], was["apiVersion"] = nil, nil
	if reflect.DeepEqual(now, was) {
		return "deleted, as it was not there before; others had written to its metadata" + whose(live, differing(from, content(live))), c.remove(ctx, live)
	}
	if slices.ContainsFunc(scopes, func(k string) bool { return at(from, "spec", k) != nil }) {
		return "left as it is: others wrote to it" + whose(live, differing(from, content(live))) + ", which would apply to more without our part. Delete it by hand if nobody needs it", nil
	}
	from["apiVersion"], bare["apiVersion"] = live["apiVersion"], live["apiVersion"]
	merged, _ := merge3(from, bare, content(live), nil)
	target, _ := merged.(map[string]any)
	if reflect.DeepEqual(target, bare) {
		return "deleted, as it was not there before", c.remove(ctx, live)
	}
	body := patched(clone(target), Object{"metadata": Object{"resourceVersion": at(live, "metadata", "resourceVersion"), "uid": at(live, "metadata", "uid")}})
	if _, _, err := c.write(ctx, s.ID, asPut, body, false, false); err != nil {
		if isCode(err, http.StatusUnprocessableEntity) {
			return "left as it is: others wrote to it" + whose(live, differing(from, content(live))) + ", and what they wrote does not stand alone", nil
		}
		return "", err
	}
	return "not deleted, because others wrote to it since; left is theirs" + whose(live, differing(bare, target)), nil
}

// differing are the paths at which b is another than a.
func differing(a, b Object) [][]string { return leaves(mergePatch(a, b), nil) }

func whose(live Object, paths [][]string) string {
	var parts []string
	for _, p := range paths {
		part := dotted(p)
		if who := keepers(live, p); len(who) > 0 {
			part += " (" + strings.Join(who, ", ") + ")"
		}
		parts = append(parts, part)
	}
	if parts == nil {
		return ""
	}
	return ": " + strings.Join(parts, ", ")
}
