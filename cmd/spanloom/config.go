package main

import (
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/spanloom/spanloom/app"
	"github.com/spanloom/spanloom/config"
)

// settingFlags adds every setting of config's table to a command and answers a function that reads them with file and
// environment.
func settingFlags(cmd *cobra.Command) func() (*config.Config, error) {
	var file string
	given := make(map[string][]string)
	flags := cmd.Flags()
	flags.StringVar(&file, "config", "", "YAML file with settings")
	for _, s := range config.Settings() {
		f := flags.VarPF(&settingValue{setting: s, given: given}, s.Name, "", s.Help)
		f.DefValue = s.Default
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

// settingValue collects what the command line says; config.Load parses it, so that all sources give the same errors.
type settingValue struct {
	setting config.Setting
	given   map[string][]string
}

var _ pflag.Value = (*settingValue)(nil)

func (v *settingValue) String() string { return strings.Join(v.given[v.setting.Name], ",") }
func (v *settingValue) Type() string   { return "value" }
func (v *settingValue) Set(s string) error {
	if !v.setting.IsList() {
		v.given[v.setting.Name] = nil
	}
	v.given[v.setting.Name] = append(v.given[v.setting.Name], s)
	return nil
}

func configCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Look at settings"}
	check := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Read and check settings without starting anything",
		Args:  cobra.MaximumNArgs(1),
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
	cmd.AddCommand(check)
	return cmd
}

func cutHeader(h string) (name, value string, ok bool) {
	name, value, ok = strings.Cut(h, ":")
	name = http.CanonicalHeaderKey(strings.TrimSpace(name))
	return name, strings.TrimSpace(value), ok && name != ""
}
