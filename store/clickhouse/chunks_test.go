package clickhouse

import (
	"fmt"
	"strings"
	"testing"
)

// TestChunks cuts inserts at what lies between them, and reaches as far as the rollups beside them.
func TestChunks(t *testing.T) {
	const many = countAtOnce/2 + 1
	inserts := func(seqs ...uint64) (list []stored) {
		for _, seq := range seqs {
			list = append(list, stored{seq: seq, rows: 10})
		}
		return list
	}
	for _, c := range []struct {
		name  string
		of    []stored
		walls []wall
		want  string
	}{
		{"alone", inserts(5, 7, 9), nil, "5-9:3"},
		{"behind a rollup", inserts(5, 7), []wall{{1, 3, true}}, "4-7:2"},
		{"before one", inserts(5, 7), []wall{{10, 20, true}}, "5-9:2"},
		{"around one", inserts(5, 30), []wall{{10, 20, true}}, "5-9:1 21-30:1"},
		{"between two", inserts(30), []wall{{40, 50, true}, {10, 20, true}}, "21-39:1"},
		{"another day's between", inserts(5, 30), []wall{{10, 10, false}}, "5-5:1 30-30:1"},
		{"another day's before the next rollup", inserts(5), []wall{{10, 10, false}, {20, 30, true}}, "5-5:1"},
		{"another day's behind the last rollup", inserts(15), []wall{{1, 3, true}, {10, 10, false}}, "15-15:1"},
		{"many rows", []stored{{seq: 1, rows: many}, {seq: 4, rows: many}, {seq: 6, rows: 1}}, nil, "1-1:1 2-6:2"},
	} {
		var got []string
		for _, x := range chunks(c.of, c.walls) {
			got = append(got, fmt.Sprintf("%d-%d:%d", x.from, x.to, len(x.inserts)))
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%s: %s, want %s", c.name, text, c.want)
		}
	}
}

// TestCover chooses rollups of which no two count a row, those that reach furthest, and names them so that rows between them are left.
func TestCover(t *testing.T) {
	for _, c := range []struct {
		name      string
		of        []stretch
		want, sql string
	}{
		{"none", nil, "", yes},
		{"an hour over its minutes", []stretch{{writer: 1, from: 1, to: 5}, {writer: 1, from: 6, to: 9}, {writer: 1, from: 1, to: 9, level: 1}}, "1:1-9/1",
			"NOT ((Writer = 1 AND (Seq BETWEEN 1 AND 9)))"},
		{"beside each other, and apart", []stretch{{writer: 1, from: 20, to: 30}, {writer: 1, from: 6, to: 9}, {writer: 1, from: 1, to: 5}}, "1:1-5/0 1:6-9/0 1:20-30/0",
			"NOT ((Writer = 1 AND (Seq BETWEEN 1 AND 9 OR Seq BETWEEN 20 AND 30)))"},
		{"two writers", []stretch{{writer: 2, from: 6, to: 9}, {writer: 1, from: 1, to: 5}}, "1:1-5/0 2:6-9/0",
			"NOT ((Writer = 1 AND (Seq BETWEEN 1 AND 5)) OR (Writer = 2 AND (Seq BETWEEN 6 AND 9)))"},
		{"two that overlap", []stretch{{writer: 1, from: 4, to: 9}, {writer: 1, from: 1, to: 5}, {writer: 1, from: 6, to: 7}}, "1:1-5/0 1:6-7/0",
			"NOT ((Writer = 1 AND (Seq BETWEEN 1 AND 7)))"},
		{"twice the same", []stretch{{writer: 1, from: 4, to: 9}, {writer: 1, from: 4, to: 9}}, "1:4-9/0", "NOT ((Writer = 1 AND (Seq BETWEEN 4 AND 9)))"},
	} {
		chosen := cover(c.of)
		var got []string
		for _, s := range chosen {
			got = append(got, fmt.Sprintf("%d:%d-%d/%d", s.writer, s.from, s.to, s.level))
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%s: %s, want %s", c.name, text, c.want)
		}
		if sql := uncovered(chosen); sql != c.sql {
			t.Errorf("%s: %s, want %s", c.name, sql, c.sql)
		}
	}
}
