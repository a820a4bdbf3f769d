package app

import (
	"fmt"
	"strings"

	"github.com/spanloom/spanloom/config"
	"github.com/spanloom/spanloom/process"
)

// Rules is the part of the settings that process takes and SIGHUP exchanges, checked.
func Rules(c *config.Config) (process.Rules, error) {
	r := process.DefaultRules()
	r.SamplePercent, r.MeshPercent = c.SamplingPercent, c.MeshPercent
	r.Redact.Enabled, r.Redact.Query = c.Redact, c.RedactQuery
	r.Redact.Keys = append(r.Redact.Keys, c.RedactKeys...)
	r.Redact.Keep, r.Redact.Patterns = c.RedactKeep, c.RedactPatterns
	r.Limits.ValueBytes = int(c.MaxValueBytes.Bytes)
	r.Limits.SpanAttrs = c.MaxSpanAttrs
	r.Limits.SpansPerTrace = c.MaxTraceSpans
	for _, text := range c.ResourceRules {
		action, rest, ok := strings.Cut(text, ":")
		if !ok {
			return r, fmt.Errorf("resource-attribute: %q is not of the form upsert:key=value, insert:key=value or delete:key", text)
		}
		key, value, _ := strings.Cut(rest, "=")
		r.Resource = append(r.Resource, process.ResourceRule{Key: key, Action: process.Action(action), Value: value})
	}
	return r, r.Check()
}
