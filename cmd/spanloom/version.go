package main

import (
	"encoding/json"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/spanloom/spanloom/web"
)

func versionCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print version, commit and whether the UI is built in",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := struct {
				Version string `json:"version" yaml:"version"`
				Commit  string `json:"commit" yaml:"commit"`
				Date    string `json:"date" yaml:"date"`
				Go      string `json:"go" yaml:"go"`
				UI      bool   `json:"ui" yaml:"ui"`
			}{version, commit, date, runtime.Version(), web.Built()}
			out := cmd.OutOrStdout()
			switch output {
			case "json":
				return json.NewEncoder(out).Encode(v)
			case "yaml":
				return yaml.NewEncoder(out).Encode(v)
			case "text":
				_, err := fmt.Fprintf(out, "spanloom %s (%s, %s) %s, UI built in: %v\n", v.Version, v.Commit, v.Date, v.Go, v.UI)
				return err
			default:
				return badOutput(output, "text", "json", "yaml")
			}
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text, json or yaml")
	return cmd
}

func badOutput(got string, known ...string) error {
	return fmt.Errorf("--output %q is none of %v", got, known)
}
