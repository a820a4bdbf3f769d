package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/spanloom/spanloom/config"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/store/clickhouse"
	"github.com/spanloom/spanloom/store/opensearch"
)

// storeCommand is about engines that run elsewhere.
func storeCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "store", Short: "Show what Spanloom makes in a database"}
	cmd.AddCommand(storeSchemaCommand())
	return cmd
}

// storeSchemaCommand prints the statements that serve would run, for who reads or applies them by himself.
func storeSchemaCommand() *cobra.Command {
	var engine, dsn, address, retention string
	var onCluster bool
	cmd := &cobra.Command{
		Use:   "schema",
		Short: "Print the tables or index templates that serve creates in a database",
		Long: "Prints the statements that `spanloom serve --store clickhouse` runs where a table is missing, or with --store opensearch the index templates that it puts\n" +
			"where they are missing. Nothing is connected to. Who grants Spanloom no right to create them applies them before.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch engine {
			case "clickhouse":
			case "opensearch", "elasticsearch":
				return printTemplates(cmd, address)
			default:
				return &problem.Problem{Kind: problem.Invalid, Field: "store", Message: fmt.Sprintf("%q", engine), Hint: "clickhouse and opensearch have a schema"}
			}
			target := &clickhouse.Target{Database: "spanloom"}
			if dsn != "" {
				var err error
				if target, err = clickhouse.ParseDSN(dsn, os.Getenv); err != nil {
					return err
				}
			}
			keep, err := config.ParseDuration(retention)
			if err != nil {
				return fmt.Errorf("--retention: %w", err)
			}
			statements := clickhouse.Schema(target, keep)
			if onCluster {
				if target.Cluster == "" {
					return &problem.Problem{Kind: problem.Invalid, Field: "on-cluster", Message: "no cluster is named", Hint: "name it in the DSN: --clickhouse-dsn 'clickhouse://host/database?cluster=name'"}
				}
				statements = clickhouse.SchemaOnCluster(target, keep)
				fmt.Fprint(cmd.OutOrStdout(), "-- Untested: Spanloom's tests have no servers with Keeper, which ON CLUSTER and replicated tables need.\n\n")
			}
			for _, statement := range statements {
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s;\n\n", statement); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&engine, "store", "clickhouse", "clickhouse or opensearch (also elasticsearch)")
	cmd.Flags().StringVar(&address, "opensearch-url", "", "servers as for serve; the index prefix is taken from it (default: spanloom)")
	cmd.Flags().StringVar(&dsn, "clickhouse-dsn", "", "servers as for serve; database, cluster and ?schema=otel are taken from it (default: spanloom, none, and Spanloom's own tables)")
	cmd.Flags().BoolVar(&onCluster, "on-cluster", false, "with a cluster in the DSN: statements that one server runs for all of it, with replicated tables")
	cmd.Flags().StringVar(&retention, "retention", "15d", "how long spans are kept at most")
	return cmd
}

// printTemplates prints the requests that serve makes where a template is missing, as Kibana's and OpenSearch's consoles take them.
func printTemplates(cmd *cobra.Command, address string) error {
	prefix := "spanloom"
	if address != "" {
		target, err := opensearch.ParseURL(address, os.Getenv)
		if err != nil {
			return err
		}
		prefix = target.Prefix
	}
	for _, t := range opensearch.Schema(prefix) {
		if _, err := fmt.Fprintf(cmd.OutOrStdout(), "PUT _index_template/%s\n%s\n\n", t.Name, t.Body); err != nil {
			return err
		}
	}
	return nil
}
