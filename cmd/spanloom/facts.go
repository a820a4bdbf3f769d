package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"reflect"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/spanloom/spanloom/doctor"
	"github.com/spanloom/spanloom/doctor/collect"
	"github.com/spanloom/spanloom/internal/problem"
)

// factsFlags are the flags that say where facts come from.
type factsFlags struct {
	paths      []string
	facts      string
	istio      string
	kubeconfig string
	root       string
	level      int
	proxies    int
}

func (f *factsFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVarP(&f.paths, "filename", "f", nil, "`folder` or file with manifests, values, dumps (can be repeated)")
	cmd.Flags().StringVar(&f.facts, "facts", "", "saved facts `file`")
	cmd.Flags().StringVar(&f.istio, "istio-version", "", "`version` to judge fields by, where no proxy tells it")
	cmd.Flags().StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig `file` of the cluster to read")
	cmd.Flags().StringVar(&f.root, "istio-namespace", "", "`namespace` of istiod (default: where its Deployment is, else istio-system)")
	cmd.Flags().IntVar(&f.level, "level", collect.LevelAdmin, "read a cluster up to this `level` of rights: 1 objects, 2 statistics, 3 Envoy's and istiod's state")
	cmd.Flags().IntVar(&f.proxies, "proxies", collect.DefaultProxies, "`number` of workloads whose proxy is asked at most")
}

// offline tells whether files were named.
func (f *factsFlags) offline() bool { return f.facts != "" || len(f.paths) > 0 }

func (f *factsFlags) read(cmd *cobra.Command, o doctor.Options) (*doctor.Facts, error) {
	switch {
	case f.facts != "" && len(f.paths) > 0:
		return nil, problem.New(problem.Invalid, "both --facts and -f are given", "saved facts hold everything already: leave one out")
	case f.offline() && f.kubeconfig != "":
		return nil, problem.New(problem.Invalid, "both files and --kubeconfig are given", "look at one of them: leave the other out")
	case f.facts != "":
		in, err := os.Open(f.facts)
		if err != nil {
			return nil, err
		}
		defer in.Close()
		return doctor.LoadFacts(in)
	case len(f.paths) > 0:
		return collect.Files(cmd.Context(), f.paths, collect.Options{Istio: f.istio, Progress: func(done, of int) {
			fmt.Fprintf(cmd.ErrOrStderr(), "%d of %d proxies read\n", done, of)
		}})
	}
	client, err := f.connect()
	if err != nil {
		return nil, err
	}
	facts, err := client.Cluster(cmd.Context(), f.cluster(cmd, o))
	if err == nil && f.istio != "" {
		facts.Istio = f.istio
	}
	return facts, err
}

func (f *factsFlags) connect() (*collect.Client, error) {
	if f.level < collect.LevelObjects || f.level > collect.LevelAdmin {
		return nil, &problem.Problem{Kind: problem.Invalid, Field: "--level", Message: fmt.Sprintf("there is no level %d", f.level), Hint: "1 reads objects, 2 the proxies' statistics too, 3 Envoy's and istiod's own state"}
	}
	if f.proxies < 1 {
		return nil, &problem.Problem{Kind: problem.Invalid, Field: "--proxies", Message: fmt.Sprintf("%d is no number of proxies", f.proxies), Hint: "use 1 or more, or --level 1 to ask none"}
	}
	return collect.Connect(f.kubeconfig)
}

// cluster are the options of reading one; progress goes to standard error, a line for every kind and for every tenth proxy.
func (f *factsFlags) cluster(cmd *cobra.Command, o doctor.Options) collect.ClusterOptions {
	var mu sync.Mutex
	out := cmd.ErrOrStderr()
	return collect.ClusterOptions{Namespace: o.Namespace, Workload: o.Workload, Level: f.level, Proxies: f.proxies, Istio: f.root, Progress: func(what string, done, of int) {
		if what == "proxies" && done%10 != 0 && done != of {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if done == of {
			fmt.Fprintf(out, "%s: %d\n", what, done)
		} else {
			fmt.Fprintf(out, "%s: %d of %d\n", what, done, of)
		}
	}}
}

// judgeFlags say how facts are judged: here, or by a running Spanloom together with what it received.
type judgeFlags struct {
	options  doctor.Options
	server   serverFlags
	since    time.Duration
	language string
}

func (j *judgeFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&j.server.server, "server", "", "base `URL` of a running Spanloom, whose receipts take part")
	addLanguage(cmd, &j.language)
	j.addSince(cmd)
	cmd.Flags().StringVar(&j.server.tokenFile, "token-file", "", "`file` with a bearer token of role read for --server")
}

func (j *judgeFlags) addSince(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&j.since, "since", time.Hour, "with --server: what came in the last so `long` counts; give the time since a change, or what came before it speaks for it")
}

func (j *judgeFlags) report(ctx context.Context, f *doctor.Facts) (*doctor.Report, error) {
	if err := checkLanguage(j.language); err != nil {
		return nil, err
	}
	if j.server.server == "" {
		return spoken(doctor.Diagnose(f, j.options), j.language), nil
	}
	if j.since <= 0 {
		return nil, &problem.Problem{Kind: problem.Invalid, Field: "--since", Message: j.since.String() + " is no time to look back", Hint: "such as 5m"}
	}
	s, err := j.server.find()
	if err != nil {
		return nil, err
	}
	var body bytes.Buffer
	if err := f.Save(&body); err != nil {
		return nil, err
	}
	answer, err := s.post(ctx, "/api/spanloom/v1/doctor?"+j.query(f), &body)
	if err != nil {
		return nil, err
	}
	r := new(doctor.Report)
	if err := json.Unmarshal(answer, r); err != nil {
		return nil, fmt.Errorf("read the report of %s: %w", s.base, err)
	}
	return spoken(r, j.language), nil
}

// addLanguage adds --lang. Nothing is taken from LANG: what reads the output of a command should find it the same everywhere.
func addLanguage(cmd *cobra.Command, language *string) {
	cmd.Flags().StringVar(language, "lang", "en", "`language` of the findings: en or ko")
}

func checkLanguage(language string) error {
	if language != "" && language != "en" && language != "ko" {
		return &problem.Problem{Kind: problem.Invalid, Field: "--lang", Message: fmt.Sprintf("%q is no language of the findings", language), Hint: "en or ko"}
	}
	return nil
}

// spoken puts a report into a language; English is how it is made.
func spoken(r *doctor.Report, language string) *doctor.Report {
	if language == "ko" {
		r.In(language)
	}
	return r
}

// watchCluster looks again and again, and prints a report whenever it differs from the one before.
func watchCluster(cmd *cobra.Command, from *factsFlags, judge *judgeFlags, interval time.Duration, output string) error {
	if from.offline() {
		return problem.New(problem.Invalid, "--watch looks at a cluster", "leave -f and --facts out")
	}
	if interval < time.Second {
		return &problem.Problem{Kind: problem.Invalid, Field: "--interval", Message: interval.String() + " is too often", Hint: "use 1s or more"}
	}
	client, err := from.connect()
	if err != nil {
		return err
	}
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	var last *doctor.Report
	seen := new(collect.Changes)
	why := "first look"
	for {
		o := from.cluster(cmd, judge.options)
		o.Versions = seen.Seen
		if last != nil {
			o.Progress = nil
		}
		f, err := client.Cluster(ctx, o)
		if err == nil {
			f.Collected = 0 // two looks that find the same are the same
			var r *doctor.Report
			if r, err = judge.report(ctx, f); err == nil && (last == nil || !alike(last, r)) {
				if err := printWatched(out, r, output, why); err != nil {
					return err
				}
				last = r
			}
		}
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			if last == nil {
				return err
			}
			fmt.Fprintln(cmd.ErrOrStderr(), "spanloom:", err, "- will look again")
		}
		if why, err = client.Watch(ctx, seen, interval); err != nil {
			break
		}
		if why == "" {
			why = "looked again"
		}
	}
	if last == nil {
		return ctx.Err()
	}
	return gravity(last)
}

// alike: the same but for the window of receipts.
func alike(a, b *doctor.Report) bool {
	x, y := *a, *b
	x.Window, y.Window = nil, nil
	return reflect.DeepEqual(x, y)
}

func printWatched(out io.Writer, r *doctor.Report, output, why string) error {
	switch output {
	case "json": // a line each, for programs
		e := json.NewEncoder(out)
		e.SetEscapeHTML(false)
		return e.Encode(r)
	case "text":
		fmt.Fprintf(out, "== %s\n", why)
		doctor.Print(out, r)
		fmt.Fprintln(out)
		return nil
	}
	return badOutput(output, "text", "json")
}

// rolesCommand prints what a cluster has to grant.
func rolesCommand() *cobra.Command {
	var level int
	var namespace string
	cmd := &cobra.Command{
		Use:   "roles",
		Short: "Print the rights that reading a cluster needs, level by level, as manifests",
		Long: "Prints a ClusterRole, and a Role for the ConfigMaps of istiod's namespace. Level 1 gets, lists and watches objects; level 2 also reads the proxies'\n" +
			"statistics through the API server (pods/proxy, port 15090); level 3 also port-forwards to Envoy's admin port and istiod's debug port. What is not\n" +
			"granted is not used, and what it would have told is unknown.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if level < collect.LevelObjects || level > collect.LevelAdmin {
				return &problem.Problem{Kind: problem.Invalid, Field: "--level", Message: fmt.Sprintf("there is no level %d", level), Hint: "1, 2 or 3"}
			}
			fmt.Fprint(cmd.OutOrStdout(), collect.Roles(level, namespace))
			return nil
		},
	}
	cmd.Flags().IntVar(&level, "level", collect.LevelAdmin, "`level` of rights")
	cmd.Flags().StringVar(&namespace, "istio-namespace", "istio-system", "`namespace` of istiod")
	return cmd
}

// query are the options as parameters of /doctor.
func (j *judgeFlags) query(f *doctor.Facts) string {
	o, began := j.options, time.Now()
	if f.Source == "cluster" && f.Collected > 0 {
		began = time.Unix(0, f.Collected) // reading a large mesh takes minutes
	}
	q := url.Values{"start": {strconv.FormatInt(began.Add(-j.since).UnixNano(), 10)}}
	if j.language == "ko" {
		q.Set("lang", j.language)
	}
	if o.Namespace != "" {
		q.Set("namespace", o.Namespace)
	}
	if o.Workload != "" {
		q.Set("workload", o.Workload)
	}
	return q.Encode()
}
