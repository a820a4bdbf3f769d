package config

import (
	"fmt"
	"strings"
)

// Reference is docs/configuration.md, made from the table.
func Reference() string {
	var b strings.Builder
	b.WriteString("# Settings of `spanloom serve`\n\nEvery setting has one name: `--http-addr` on the command line, `SPANLOOM_HTTP_ADDR` in the environment, `http-addr:` in the file\n" +
		"given with `--config`. A flag wins over the environment, the environment over the file, the file over the default. Lists are\n" +
		"repeated flags, comma-separated variables, YAML lists. `tls:` may be written as a block per listener, `forward:` as a block (`to:`, `max-disk:`). `spanloom config check`\n" +
		"reads a file without starting anything. *Reload* settings are taken over on SIGHUP and when the file or one it names changes; all\n" +
		"others need a restart.\n\n" +
		"| setting | default | value | what it does |\n| --- | --- | --- | --- |\n")
	for _, s := range Settings() {
		def := "`" + s.Default + "`"
		if s.Default == "" {
			def = "none"
		}
		reload := ""
		if s.Reload {
			reload = " *Reload.*"
		}
		value := strings.ReplaceAll(s.Value, "|", "\\|")
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s.%s |\n", s.Name, def, value, s.Help, reload)
	}
	return b.String()
}
