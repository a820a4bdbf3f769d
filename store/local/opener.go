package local

import "github.com/spanloom/spanloom/store/local/internal/segment"

// opener keeps the blocks that one question opened last: the search that found rows in a block goes on to gather whole traces from it.
// It is not safe for concurrent use; close gives the blocks' memory back.
type opener struct {
	open []*opened // the one used last is the last
}

// maxOpened blocks are kept: about 1 MB each.
const maxOpened = 12

// get opens a unit, or finds it open.
func (p *opener) get(u *unit) (*opened, error) {
	if u.mem != nil {
		return &opened{unit: u}, nil
	}
	for i, o := range p.open {
		if o.seg == u.seg && o.block == u.block {
			p.open = append(append(p.open[:i], p.open[i+1:]...), o)
			return o, nil
		}
	}
	own := *u
	o := &opened{unit: &own}
	err := segment.Guard(func() error {
		side, err := u.seg.tables()
		if err != nil {
			return err
		}
		o.rows, err = u.seg.r.Read(u.block, side)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(p.open) == maxOpened {
		p.open[0].rows.Release()
		p.open = append(p.open[:0], p.open[1:]...)
	}
	p.open = append(p.open, o)
	return o, nil
}

func (p *opener) close() {
	for _, o := range p.open {
		o.rows.Release()
	}
	p.open = nil
}
