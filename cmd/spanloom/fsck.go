package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/spanloom/spanloom/store/local"
)

// fsckCommand reads everything in a data folder and names what cannot be read.
func fsckCommand() *cobra.Command {
	var dir, output string
	var repair, rollups bool
	cmd := &cobra.Command{
		Use:   "fsck",
		Short: "Check a data folder, and set aside what cannot be read",
		Long:  "Reads every file of a data folder and names each frame and file that is damaged. With --repair (no server may run on the folder)\ndamaged parts are set aside under another name and what can be read is kept; no spans are ever deleted. --rollups repairs too, and counts the rollups of\nall segments anew. Exit code 1 means that there is damage.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			check := func() (local.Report, error) { return local.Fsck(cmd.Context(), nil, dir, repair) }
			if rollups {
				check = func() (local.Report, error) { return local.FsckRollups(cmd.Context(), nil, dir) }
			}
			r, err := check()
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			switch output {
			case "json":
				err = json.NewEncoder(out).Encode(r)
			case "yaml":
				err = yaml.NewEncoder(out).Encode(r)
			case "text":
				for _, d := range r.Damage {
					fmt.Fprintln(out, d)
				}
				_, err = fmt.Fprintf(out, "%s: %d files, %d segments, %d frames, %d spans, %d bytes, %d damaged parts\n", r.Dir, len(r.Files), r.Segments, r.Frames, r.Spans,
					r.Bytes, len(r.Damage))
			default:
				return badOutput(output, "text", "json", "yaml")
			}
			if err == nil && !r.Clean() && !r.Repaired {
				err = errFindings
			}
			return err
		},
	}
	cmd.Flags().StringVar(&dir, "data-dir", "./spanloom-data", "folder of the embedded engine")
	cmd.Flags().BoolVar(&repair, "repair", false, "set damaged parts aside")
	cmd.Flags().BoolVar(&rollups, "rollups", false, "count rates, errors and edges of all segments anew; implies --repair")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text, json or yaml")
	return cmd
}
