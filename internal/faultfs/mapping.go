package faultfs

import "os"

// copied is a mapping that is memory of its own.
type copied struct{ p []byte }

func (c *copied) Bytes() []byte { return c.p }

func (c *copied) Close() error {
	c.p = nil
	return nil
}

// readFile is Map where the operating system's own mappings are not used.
func readFile(name string) (Mapping, error) {
	p, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return &copied{p}, nil
}
