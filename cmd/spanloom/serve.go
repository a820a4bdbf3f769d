package main

import (
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/spanloom/spanloom/app"
	"github.com/spanloom/spanloom/config"
)

func serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Receive, keep, find and show spans",
		Long:  "Receives, keeps, finds and shows spans until it is told to stop (Ctrl-C, SIGTERM).\n\n" + settingHelp(),
		Args:  cobra.NoArgs,
	}
	load := settingFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := load()
		if err != nil {
			return err
		}
		return app.Serve(cmd.Context(), c, app.Options{Build: build(), Log: newLog(cmd.ErrOrStderr(), c)})
	}
	return cmd
}

func build() app.Build { return app.Build{Version: version, Commit: commit, Date: date} }

func newLog(w io.Writer, c *config.Config) *slog.Logger {
	level := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}[c.LogLevel]
	options := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
