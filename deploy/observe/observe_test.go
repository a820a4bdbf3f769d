package observe

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the files")

func TestCommittedFilesAreWhatTheCodeBuilds(t *testing.T) {
	want := Files()
	for name, text := range want {
		path := filepath.Join("..", filepath.FromSlash(name))
		if *update {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, text) {
			t.Errorf("%s is not what the code builds (%v): run go test ./deploy/observe -update", path, err)
		}
	}
	for _, folder := range []string{"grafana/dashboards", "prometheus"} {
		files, err := os.ReadDir(filepath.Join("..", folder))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if want[folder+"/"+f.Name()] == nil {
				t.Errorf("deploy/%s/%s is built by nothing", folder, f.Name())
			}
		}
	}
}

// TestBoardsAreWhole reads the boards as Grafana would: no id twice, no panel over another, every variable that is asked for
// exists, nothing without a title or a query.
func TestBoardsAreWhole(t *testing.T) {
	uids := make(map[string]bool)
	for _, b := range Boards() {
		if uids[b.UID] {
			t.Errorf("uid %s twice", b.UID)
		}
		uids[b.UID] = true
		for _, v := range b.Vars {
			if strings.Contains(v.Default, `\`) {
				t.Errorf("%s: Grafana doubles the backslashes in %q, the value of $%s", b.UID, v.Default, v.Name)
			}
		}
		var model struct {
			Panels []struct {
				ID      int
				Title   string
				Type    string
				GridPos struct{ X, Y, W, H int }
				Targets []struct{ Expr string }
			}
			Templating struct{ List []struct{ Name string } }
		}
		if err := json.Unmarshal(b.json(), &model); err != nil {
			t.Fatal(err)
		}
		vars := map[string]bool{"__rate_interval": true}
		for _, v := range model.Templating.List {
			vars[v.Name] = true
		}
		ids, cells := make(map[int]bool), make(map[[2]int]string)
		for _, p := range model.Panels {
			if ids[p.ID] || p.Title == "" || p.Type != "row" && len(p.Targets) == 0 {
				t.Errorf("%s: panel %d %q: its id is used twice, or it lacks a title or a query", b.UID, p.ID, p.Title)
			}
			ids[p.ID] = true
			for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
				for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
					if other := cells[[2]int{x, y}]; other != "" || x >= 24 {
						t.Fatalf("%s: panel %q lies over %q or beyond the edge", b.UID, p.Title, other)
					}
					cells[[2]int{x, y}] = p.Title
				}
			}
			for _, q := range p.Targets {
				for _, word := range strings.Split(q.Expr, "$")[1:] {
					name := word
					if end := strings.IndexFunc(word, func(c rune) bool { return c != '_' && (c < 'a' || c > 'z') }); end >= 0 {
						name = word[:end]
					}
					if !vars[name] {
						t.Errorf("%s: panel %q asks for $%s, which the board does not have", b.UID, p.Title, name)
					}
				}
			}
		}
	}
}
