package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/spanloom/spanloom/config"
	"github.com/spanloom/spanloom/store/clickhouse"
)

// storeCommand is about engines that run elsewhere.
func storeCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "store", Short: "Show what Spanloom makes in a database"}
	cmd.AddCommand(storeSchemaCommand())
	return cmd
}

// storeSchemaCommand prints the statements that serve would run, for who reads or applies them by himself.
func storeSchemaCommand() *cobra.Command {
	var dsn, retention string
	cmd := &cobra.Command{
		Use:   "schema",
		Short: "Print the tables that serve --store clickhouse creates",
		Long:  "Prints the statements that `spanloom serve --store clickhouse` runs where a table is missing. Nothing is connected to. Who grants Spanloom no right to\ncreate tables applies them before.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			database := "spanloom"
			if dsn != "" {
				target, err := clickhouse.ParseDSN(dsn, os.Getenv)
				if err != nil {
					return err
				}
				database = target.Database
			}
			keep, err := config.ParseDuration(retention)
			if err != nil {
				return fmt.Errorf("--retention: %w", err)
			}
			for _, statement := range clickhouse.Schema(database, keep) {
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s;\n\n", statement); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&dsn, "clickhouse-dsn", "", "servers as for serve; the database is taken from it (default: spanloom)")
	cmd.Flags().StringVar(&retention, "retention", "15d", "how long spans are kept at most")
	return cmd
}
