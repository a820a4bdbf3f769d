package main

import (
	"fmt"
	"strings"
	"time"
)

// curve is memory over time: the most of each step.
type curve struct {
	steps []int64
}

const (
	curveStep  = time.Second
	curveLines = 20
)

func (c *curve) add(at time.Duration, bytes int64) {
	i := int(at / curveStep)
	for len(c.steps) <= i {
		c.steps = append(c.steps, 0)
	}
	c.steps[i] = max(c.steps[i], bytes)
}

// print draws it in some lines.
func (c *curve) print(limit int64) {
	if len(c.steps) == 0 {
		return
	}
	per := (len(c.steps) + curveLines - 1) / curveLines
	top := int64(0)
	for from := 0; from < len(c.steps); from += per {
		most := int64(0)
		for _, n := range c.steps[from:min(from+per, len(c.steps))] {
			most = max(most, n)
		}
		top = max(top, most)
		fmt.Printf("memory    %5s %4d MiB %s\n", time.Duration(from)*curveStep, most>>20, strings.Repeat("#", int(60*most/limit)))
	}
	fmt.Printf("memory    at most %d MiB of %d (without pages of mapped files)\n", top>>20, limit>>20)
}

func (c *curve) top() (most int64) {
	for _, n := range c.steps {
		most = max(most, n)
	}
	return most
}
