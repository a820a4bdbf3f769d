package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/spanloom/spanloom/app"
	"github.com/spanloom/spanloom/config"
	"github.com/spanloom/spanloom/config/imports"
	"github.com/spanloom/spanloom/mesh/yamldoc"
)

// settingFlags adds every setting of config's table to a command and answers a function that reads them with file and
// environment.
func settingFlags(cmd *cobra.Command) func() (*config.Config, error) {
	var file string
	given := make(map[string][]string)
	flags := cmd.Flags()
	flags.StringVar(&file, "config", "", "YAML file with settings")
	for _, s := range config.Settings() {
		f := flags.VarPF(&settingValue{setting: s, given: given}, s.Name, "", usage(s))
		f.DefValue = s.Default
		f.Hidden = ofOneListener(s.Name)
		if s.IsBool() {
			f.NoOptDefVal = "true"
		}
	}
	return func() (*config.Config, error) {
		if file == "" {
			file = os.Getenv("SPANLOOM_CONFIG")
		}
		return config.Load(config.Source{Flags: given, Env: os.LookupEnv, File: file})
	}
}

// usage is the help of a flag: what the setting does and, where the placeholder does not say it, which values it takes.
func usage(s config.Setting) string {
	help := strings.ReplaceAll(s.Help, "`", "'") // pflag takes what stands in backquotes for the placeholder
	if s.IsBool() || placeholder(s) != "value" {
		return help
	}
	return help + " [" + s.Value + "]"
}

// placeholder is what stands behind a flag's name in the help: the kind of value where one word says it.
func placeholder(s config.Setting) string {
	switch {
	case s.IsBool():
		return "bool"
	case strings.ContainsAny(s.Value, " ,:"):
		return "value"
	}
	return s.Value
}

// ofOneListener tells the certificate settings of single listeners: too many to list, so settingHelp says what they are called.
func ofOneListener(name string) bool {
	for _, l := range config.Listeners {
		if strings.HasPrefix(name, "tls-"+l+"-") {
			return true
		}
	}
	return false
}

// settingHelp stands in the help of every command that takes settings.
func settingHelp() string {
	return "Each flag of a setting is also a key of the file given with --config (http-addr: for --http-addr) and a variable\n" +
		"(SPANLOOM_HTTP_ADDR). A listener can have a certificate of its own: --tls-LISTENER-cert, -key and -client-ca, where LISTENER is\n" +
		strings.Join(config.Listeners, ", ") + "."
}

// settingValue collects what the command line says; config.Load parses it, so that all sources give the same errors.
type settingValue struct {
	setting config.Setting
	given   map[string][]string
}

var _ pflag.Value = (*settingValue)(nil)

func (v *settingValue) String() string { return strings.Join(v.given[v.setting.Name], ",") }
func (v *settingValue) Type() string   { return placeholder(v.setting) }
func (v *settingValue) Set(s string) error {
	if !v.setting.IsList() {
		v.given[v.setting.Name] = nil
	}
	v.given[v.setting.Name] = append(v.given[v.setting.Name], s)
	return nil
}

func configCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Check settings, or take them over from another system"}
	check := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Read and check settings without starting anything",
		Long: "Reads flags, environment and file as `spanloom serve` does and says what is wrong. Exit code 1 means that something is.\n" +
			"Certificates and the token file are only read by serve itself.\n\n" + settingHelp(),
		Args: cobra.MaximumNArgs(1),
	}
	load := settingFlags(check)
	check.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			if err := cmd.Flags().Set("config", args[0]); err != nil {
				return err
			}
		}
		c, err := load()
		if err == nil {
			_, err = app.Rules(c)
		}
		if err != nil {
			fmt.Fprintln(cmd.OutOrStdout(), err)
			return errFindings
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), "settings are fine")
		return err
	}
	cmd.AddCommand(check, importCommand())
	return cmd
}

// importCommand makes settings out of another system's configuration.
func importCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "import FILE...",
		Short: "Turn configuration of a collector, Jaeger, SigNoz or Tempo into settings of Spanloom",
		Long: "Reads an OpenTelemetry Collector configuration (also in a ConfigMap or a kind: OpenTelemetryCollector), a kind: Jaeger resource, Helm values of SigNoz or Tempo,\n" +
			"or Tempo's own configuration; - is standard input. Writes the file that `spanloom serve --config` takes, and at its end what was not taken over, with the reason.\n" +
			"Several files become one configuration. No value of what is left out is written: it may be a password.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var im imports.Importer
			for _, name := range args {
				data, err := readInput(cmd, name)
				if err != nil {
					return err
				}
				if err := im.File(name, data); err != nil {
					return err
				}
			}
			r := im.Result()
			switch output {
			case "json":
				return writeJSON(cmd.OutOrStdout(), r)
			case "yaml":
				fmt.Fprintf(cmd.ErrOrStderr(), "%d settings taken over, %d values not; why stands at the end of the file\n", len(r.Settings), len(r.Dropped))
				return imports.Write(cmd.OutOrStdout(), r)
			}
			return badOutput(output, "yaml", "json")
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "yaml", "yaml or json")
	return cmd
}

// readInput reads a file of configuration, or standard input for -.
func readInput(cmd *cobra.Command, name string) ([]byte, error) {
	in := cmd.InOrStdin()
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		in = file
	}
	data, err := io.ReadAll(io.LimitReader(in, yamldoc.MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return data, nil
}

func cutHeader(h string) (name, value string, ok bool) {
	name, value, ok = strings.Cut(h, ":")
	name = http.CanonicalHeaderKey(strings.TrimSpace(name))
	return name, strings.TrimSpace(value), ok && name != ""
}
