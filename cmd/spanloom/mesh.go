package main

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/spanloom/spanloom/doctor"
	"github.com/spanloom/spanloom/doctor/collect"
	"github.com/spanloom/spanloom/doctor/prescribe"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/mesh/istio"
	"github.com/spanloom/spanloom/mesh/plan"
	"github.com/spanloom/spanloom/mesh/render"
)

// meshCommand writes what brings a mesh's spans here. render and plan write to no cluster; what changes one says so.
func meshCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "mesh", Short: "Configure a mesh so that its spans arrive"}
	cmd.AddCommand(meshRenderCommand(), meshPlanCommand(), meshApplyCommand(), meshRolloutCommand(), meshVerifyCommand(), meshRollbackCommand(), meshSamplingCommand())
	return cmd
}

// intentFlags are the flags of an intent. words are completed by what -f tells: the version of Istio, its root namespace.
type intentFlags struct {
	words render.Words
	paths []string
}

// add adds the flags; whatFor says which forms are written if none is named.
func (f *intentFlags) add(cmd *cobra.Command, whatFor string) {
	f.addIntent(cmd, whatFor)
	cmd.Flags().StringArrayVarP(&f.paths, "filename", "f", nil, "`folder` or file with the mesh's present objects (can be repeated)")
}

// addIntent adds all flags but -f.
func (f *intentFlags) addIntent(cmd *cobra.Command, whatFor string) {
	var presets []string
	for _, p := range render.Presets {
		presets = append(presets, fmt.Sprintf("%s (%g %%)", p.Name, p.Percent))
	}
	var targets []string
	for _, t := range render.Targets {
		targets = append(targets, string(t))
	}
	flags := cmd.Flags()
	flags.StringVar(&f.words.Protocol, "protocol", "otlp", "`protocol` that proxies send in: otlp (W3C headers) or zipkin (B3 headers)")
	flags.StringVar(&f.words.Sampling, "sampling", "", "`rate` of requests traced: "+strings.Join(presets, ", ")+" or a percentage from 0.01 to 100 (default: what -f has for the whole mesh, else prod)")
	flags.StringSliceVar(&f.words.Tags, "tags", nil, "custom `tag` of every span: NAME=VALUE, NAME=header:HEADER[:default], NAME=env:VARIABLE[:default]; repeatable")
	flags.StringVar(&f.words.Namespace, "namespace", "istio-system", "`namespace` of Spanloom")
	flags.StringVar(&f.words.Service, "service", "spanloom", "`name` of Spanloom's Service")
	flags.StringVar(&f.words.RootNamespace, "root-namespace", "", "Istio's root `namespace` (default: that of the mesh configuration in -f, else istio-system)")
	flags.StringVar(&f.words.Istio, "istio-version", "", "`version` of Istio, "+render.Oldest+" to "+render.Newest+" (default: that of the proxies in -f)")
	flags.StringSliceVar(&f.words.For, "for", nil, "`form` to write: "+strings.Join(targets, ", ")+" (default: "+whatFor+"); repeatable")
	flags.StringSliceVar(&f.words.Hosts, "host", nil, "outside `host` for --for serviceentry, such as api.example.com:443; repeatable")
	flags.StringVar(&f.words.ExternalURL, "external-url", "", "`URL` under which browsers reach Spanloom, for links in Kiali")
}

func (f *intentFlags) addWorkloads(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&f.words.Workloads, "workload", nil, "`workload` with an OpenTelemetry SDK for --for opentelemetry-env: NAMESPACE/NAME or NAMESPACE/NAME/CONTAINER; repeatable")
}

// read parses the intent and reads what is there; facts are nil without -f.
func (f *intentFlags) read(cmd *cobra.Command) (render.Intent, *doctor.Facts, error) {
	var facts *doctor.Facts
	words := f.words
	if len(f.paths) > 0 {
		var err error
		if facts, err = collect.Files(cmd.Context(), f.paths, collect.Options{Istio: words.Istio}); err != nil {
			return render.Intent{}, nil, err
		}
		prescribe.Complete(&words, facts)
	}
	in, err := render.Parse(words)
	return in, facts, err
}

func meshRenderCommand() *cobra.Command {
	var flags intentFlags
	var server serverFlags
	var output string
	var fromTraffic bool
	cmd := &cobra.Command{
		Use:   "render",
		Short: "Write the objects that bring a mesh's spans to Spanloom, for its version of Istio",
		Long: "Writes commented YAML from a short intent. The same intent gives the same bytes. With -f, the version of Istio, the Telemetry in force and the\n" +
			"NetworkPolicies of the mesh are taken into account. Nothing is changed anywhere: review it, commit it. What can be applied as it is and what must be merged into something\n" +
			"larger stands in its comments; `spanloom mesh plan -f DIR` does the merging.",
		Example: "  spanloom mesh render --istio-version 1.28 --sampling staging\n" +
			"  spanloom mesh render --istio-version 1.21 --protocol zipkin --for helm,telemetry --tags environment=production\n" +
			"  spanloom mesh render --for networkpolicy -f manifests/",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if fromTraffic {
				seen, err := server.outsideHosts(cmd)
				if err != nil {
					return err
				}
				flags.words.Hosts = append(flags.words.Hosts, seen...)
			}
			in, facts, err := flags.read(cmd)
			if err != nil {
				return err
			}
			parts, err := render.Render(in, objectsOf(facts))
			if err != nil {
				return err
			}
			switch output {
			case "yaml":
				return render.Write(cmd.OutOrStdout(), parts)
			case "json":
				return writeJSON(cmd.OutOrStdout(), parts)
			}
			return badOutput(output, "yaml", "json")
		},
	}
	flags.add(cmd, "configmap, telemetry")
	server.add(cmd)
	cmd.Flags().BoolVar(&fromTraffic, "from-traffic", false, "take hosts for --for serviceentry from the spans of the last day that went to no service of the mesh, asked of a running Spanloom")
	cmd.Flags().StringVarP(&output, "output", "o", "yaml", "yaml or json")
	return cmd
}

// outsideHosts asks a running Spanloom for the URLs of requests that no service of the mesh matched.
func (f *serverFlags) outsideHosts(cmd *cobra.Command) ([]string, error) {
	s, err := f.find()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	ask := url.Values{"limit": {"5000"}, "q": {`{ span.upstream_cluster = "PassthroughCluster" }`},
		"start": {strconv.FormatInt(now.Add(-24*time.Hour).Unix(), 10)}, "end": {strconv.FormatInt(now.Unix()+1, 10)}}
	body, _, err := s.get(cmd.Context(), "/tempo/api/v2/search/tag/span.http.url/values?"+ask.Encode())
	if err != nil {
		return nil, err
	}
	var answer struct{ TagValues []struct{ Value string } }
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", s.base, err)
	}
	urls := make([]string, len(answer.TagValues))
	for i, v := range answer.TagValues {
		urls[i] = v.Value
	}
	hosts, skipped := render.HostsOf(urls)
	if len(hosts) == 0 {
		return nil, problem.New(problem.NotFound, "no span of the last day went to a host outside of the mesh", "what applications encrypt themselves makes no span: name such hosts with --host")
	}
	if skipped > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "%d URLs are left out: addresses, or names of the cluster\n", skipped)
	}
	return hosts, nil
}

func objectsOf(f *doctor.Facts) *istio.Objects {
	if f == nil {
		return nil
	}
	return &f.Objects
}

func meshPlanCommand() *cobra.Command {
	var flags intentFlags
	var cluster clusterFlags
	var output string
	cmd := &cobra.Command{
		Use:   "plan -f DIR | --kubeconfig FILE | --context NAME",
		Short: "Say what an intent would change of a folder's files or of a cluster, and what each change does",
		Long: "Compares what `spanloom mesh render` writes with the files of a folder (a Git repository, or what `kubectl get -o yaml` gave) or with a cluster: the lines that\n" +
			"change, what is live and what needs a restart of which workloads, who keeps an object, and how each workload's tracing is decided before and after.\n" +
			"Shared documents (the ConfigMap istio, Helm values, an IstioOperator, Kiali) are edited in place, comments kept. Nothing is written: of a folder -o patch gives\n" +
			"a patch for `git apply`, and of a cluster the plan is the one that `spanloom mesh apply` shows before it writes. Exit code 1 means that there is something to change.",
		Example: "  spanloom mesh plan -f manifests/ --istio-version 1.28 --sampling staging\n" +
			"  spanloom mesh plan -f manifests/ --istio-version 1.28 -o patch | git apply\n" +
			"  spanloom mesh plan --kubeconfig ~/.kube/config --sampling staging",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "text" && output != "json" && output != "patch" {
				return badOutput(output, "text", "json", "patch")
			}
			named := cmd.Flags().Changed("kubeconfig") || cmd.Flags().Changed("context")
			var p *plan.Plan
			var err error
			switch {
			case len(flags.paths) > 0 && named:
				return problem.New(problem.Invalid, "both -f and a cluster are given", "a plan compares with one of them: leave -f out, or --kubeconfig and --context")
			case len(flags.paths) > 0:
				p, err = flags.planFiles(cmd)
			case named:
				p, err = flags.planCluster(cmd, &cluster)
			default:
				return problem.New(problem.Invalid, "nothing to compare with", "give -f DIR with the mesh's manifests, or --kubeconfig FILE (or --context NAME) of its cluster")
			}
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			switch output {
			case "text":
				plan.Print(out, p)
			case "json":
				err = writeJSON(out, p)
			case "patch":
				_, err = io.WriteString(out, p.Patch())
				for _, n := range p.Notes {
					fmt.Fprintln(cmd.ErrOrStderr(), n)
				}
			}
			if err != nil {
				return err
			}
			if !p.Empty() {
				return errFindings
			}
			return nil
		},
	}
	flags.add(cmd, "mesh configuration where the folder keeps it, and telemetry")
	flags.addWorkloads(cmd)
	cluster.add(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text, json or patch")
	return cmd
}

func (f *intentFlags) planFiles(cmd *cobra.Command) (*plan.Plan, error) {
	in, facts, files, err := f.readFiles(cmd)
	if err != nil {
		return nil, err
	}
	return plan.Make(in, files, prescribe.State(facts))
}

// planCluster is what apply would write.
func (f *intentFlags) planCluster(cmd *cobra.Command, cluster *clusterFlags) (*plan.Plan, error) {
	reader, writer, err := cluster.connect()
	if err != nil {
		return nil, err
	}
	facts, err := objects(cmd.Context(), reader, cmd.ErrOrStderr())
	if err != nil {
		return nil, err
	}
	in, parts, err := f.parts(facts)
	if err != nil {
		return nil, err
	}
	p, err := prescribe.Look(cmd.Context(), writer, in, parts, facts)
	if err != nil {
		return nil, err
	}
	return p.Plan, nil
}

// readFiles reads the folder twice: as facts, and as the files that a plan edits. Without --for the forms are those in
// which the folder keeps its mesh configuration.
func (f *intentFlags) readFiles(cmd *cobra.Command) (render.Intent, *doctor.Facts, []plan.File, error) {
	files, err := manifests(f.paths)
	if err != nil {
		return render.Intent{}, nil, nil, err
	}
	if len(f.words.For) == 0 {
		facts, err := collect.Files(cmd.Context(), f.paths, collect.Options{Istio: f.words.Istio})
		if err != nil {
			return render.Intent{}, nil, nil, err
		}
		f.words.For = plan.Forms(&facts.Objects)
	}
	in, facts, err := f.read(cmd)
	return in, facts, files, err
}

// manifests reads the YAML files that a plan can edit, in the order of their names.
func manifests(paths []string) ([]plan.File, error) {
	var out []plan.File
	take := func(path string) error {
		data, err := os.ReadFile(path)
		if err == nil {
			out = append(out, plan.File{Name: fromHere(path), Text: string(data)})
		}
		return err
	}
	for _, root := range paths {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules"):
				return fs.SkipDir
			case !d.Type().IsRegular():
				return nil
			}
			switch info, err := d.Info(); {
			case err != nil:
				return err
			case filepath.Ext(path) != ".yaml" && filepath.Ext(path) != ".yml" || info.Size() > maxManifest:
				return nil
			}
			return take(path)
		})
		if err != nil {
			return nil, &problem.Problem{Kind: problem.Invalid, Field: "-f", Message: fmt.Sprintf("%q cannot be read", root), Hint: "give a folder or a file", Err: err}
		}
	}
	return out, nil
}

// fromHere is a path as a patch names it: from the present folder, where it is below that.
func fromHere(path string) string {
	here, err := os.Getwd()
	if err != nil || !filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	if rel, err := filepath.Rel(here, path); err == nil && !strings.HasPrefix(rel, "..") {
		return rel
	}
	return path
}

// maxManifest bounds a file that is edited: what people write has kilobytes.
const maxManifest = 8 << 20
