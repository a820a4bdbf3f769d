package main

import (
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

// getCommand is wget for images without a shell: health probes and `kubectl exec … -- spanloom get URL`.
func getCommand() *cobra.Command {
	var timeout time.Duration
	var headers []string
	cmd := &cobra.Command{
		Use:   "get URL",
		Short: "Fetch a URL and print its body (no shell or curl needed)",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client := &http.Client{Timeout: timeout}
			req, err := http.NewRequestWithContext(cmd.Context(), http.MethodGet, args[0], nil)
			if err != nil {
				return err
			}
			for _, h := range headers {
				name, value, ok := cutHeader(h)
				if !ok {
					return fmt.Errorf("--header %q is not of the form `Name: value`", h)
				}
				req.Header.Set(name, value)
			}
			res, err := client.Do(req)
			if err != nil {
				return err
			}
			defer res.Body.Close()
			if _, err := io.Copy(cmd.OutOrStdout(), res.Body); err != nil {
				return fmt.Errorf("read answer: %w", err)
			}
			if res.StatusCode >= 400 {
				fmt.Fprintln(cmd.ErrOrStderr(), res.Status)
				return errFindings
			}
			return nil
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", 30*time.Second, "give up after")
	cmd.Flags().StringArrayVarP(&headers, "header", "H", nil, "a `header` such as 'Authorization: Bearer …'; repeatable")
	return cmd
}
