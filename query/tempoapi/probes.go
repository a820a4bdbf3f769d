package tempoapi

import (
	"encoding/json"
	"net/http"
	"runtime"
	"slices"

	"github.com/spanloom/spanloom/store"
)

// speaks is the version of Tempo whose API this is. Clients switch streaming, metrics and scopes of tags on by it, so it says
// what can be asked and not which program answers.
const speaks = "2.8.0"

func (a *API) echo(c *call) error {
	c.whole(typeText, []byte("echo\n"))
	return nil
}

func (a *API) ready(c *call) error {
	c.whole(typeText, []byte("ready\n"))
	return nil
}

func (a *API) buildInfo(c *call) error {
	body, err := json.Marshal(struct {
		Version   string `json:"version"`
		Revision  string `json:"revision"`
		Branch    string `json:"branch"`
		BuildUser string `json:"buildUser"`
		BuildDate string `json:"buildDate"`
		GoVersion string `json:"goVersion"`
	}{speaks, a.Build.Commit, "spanloom " + a.Build.Version, "spanloom", a.Build.Date, runtime.Version()})
	if err != nil {
		return err
	}
	c.whole(typeJSON, body)
	return nil
}

func (a *API) status(c *call) error {
	c.whole(typeText, []byte("spanloom "+a.Build.Version+", API of Tempo "+speaks+"\nGET /status/version\nGET /status/services\n"))
	return nil
}

func (a *API) statusVersion(c *call) error {
	c.whole(typeText, []byte("spanloom, version "+a.Build.Version+" ("+a.Build.Commit+", "+a.Build.Date+"), API of Tempo "+speaks+"\n"))
	return nil
}

// statusServices answers Kiali, which reads the services of the mesh from here where Tempo lists its own modules.
func (a *API) statusServices(c *call) error {
	list, _, err := a.Query.ListServices(c.Context(), c.scope, store.TimeRange{})
	if err != nil {
		return err
	}
	names := make([]string, 0, len(list))
	for _, s := range list {
		names = append(names, s.Name)
	}
	slices.Sort(names)
	body, err := json.Marshal(slices.Compact(names))
	if err != nil {
		return err
	}
	c.whole(typeJSON, body)
	return nil
}

var _ http.Handler = (*API)(nil)
