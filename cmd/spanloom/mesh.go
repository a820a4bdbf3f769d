package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/spanloom/spanloom/doctor"
	"github.com/spanloom/spanloom/doctor/collect"
	"github.com/spanloom/spanloom/mesh/istio"
	"github.com/spanloom/spanloom/mesh/render"
)

// meshCommand writes what brings a mesh's spans here. Nothing below it reaches a cluster.
func meshCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "mesh", Short: "Configure a mesh so that its spans arrive"}
	cmd.AddCommand(meshRenderCommand())
	return cmd
}

// intentFlags are the flags of an intent. words are completed by what -f tells: the version of Istio, its root namespace.
type intentFlags struct {
	words render.Words
	paths []string
}

func (f *intentFlags) add(cmd *cobra.Command) {
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
	flags.StringVar(&f.words.Sampling, "sampling", "prod", "`rate` of requests traced: "+strings.Join(presets, ", ")+" or a percentage from 0.01 to 100")
	flags.StringSliceVar(&f.words.Tags, "tags", nil, "custom `tag` of every span: NAME=VALUE, NAME=header:HEADER[:default], NAME=env:VARIABLE[:default]; repeatable")
	flags.StringVar(&f.words.Namespace, "namespace", "istio-system", "`namespace` of Spanloom")
	flags.StringVar(&f.words.Service, "service", "spanloom", "`name` of Spanloom's Service")
	flags.StringVar(&f.words.RootNamespace, "root-namespace", "", "Istio's root `namespace` (default: that of the mesh configuration in -f, else istio-system)")
	flags.StringVar(&f.words.Istio, "istio-version", "", "`version` of Istio, "+render.Oldest+" to "+render.Newest+" (default: that of the proxies in -f)")
	flags.StringSliceVar(&f.words.For, "for", nil, "`form` to write: "+strings.Join(targets, ", ")+" (default: configmap, telemetry); repeatable")
	flags.StringSliceVar(&f.words.Hosts, "host", nil, "outside `host` for --for serviceentry, such as api.example.com:443; repeatable")
	flags.StringVar(&f.words.ExternalURL, "external-url", "", "`URL` under which browsers reach Spanloom, for links in Kiali")
	flags.StringArrayVarP(&f.paths, "filename", "f", nil, "`folder` or file with the mesh's present objects (can be repeated)")
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
		if words.Istio == "" {
			words.Istio = facts.Istio
		}
		if words.RootNamespace == "" {
			words.RootNamespace = rootOf(facts)
		}
	}
	in, err := render.Parse(words)
	return in, facts, err
}

func rootOf(f *doctor.Facts) string {
	if f.Effective != nil {
		return f.Effective.RootNamespace()
	}
	for i := range f.Objects.Meshes {
		if !f.Objects.Meshes[i].Invalid {
			return f.Objects.Meshes[i].RootNamespace()
		}
	}
	return ""
}

func meshRenderCommand() *cobra.Command {
	var flags intentFlags
	var output string
	cmd := &cobra.Command{
		Use:   "render",
		Short: "Write the objects that bring a mesh's spans to Spanloom, for its version of Istio",
		Long: "Writes commented YAML from a short intent. The same intent gives the same bytes. With -f, the version of Istio, the Telemetry in force and the\n" +
			"NetworkPolicies of the mesh are taken into account. Nothing is changed anywhere: review it, commit it, `kubectl apply --server-side` it.",
		Example: "  spanloom mesh render --istio-version 1.28 --sampling staging\n" +
			"  spanloom mesh render --istio-version 1.21 --protocol zipkin --for helm,telemetry --tags environment=production\n" +
			"  spanloom mesh render --for networkpolicy -f manifests/",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			in, facts, err := flags.read(cmd)
			if err != nil {
				return err
			}
			parts, err := render.Render(in, objectsOf(facts))
			if err != nil {
				return err
			}
			if output != "yaml" {
				return badOutput(output, "yaml")
			}
			return render.Write(cmd.OutOrStdout(), parts)
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "yaml", "yaml")
	return cmd
}

func objectsOf(f *doctor.Facts) *istio.Objects {
	if f == nil {
		return nil
	}
	return &f.Objects
}
