package gbdt

import (
	"context"
	"errors"
	"slices"
)

// Fit boosts trees on train. With Patience set, valid is the later data on which it stops; valid may be nil otherwise.
func Fit(ctx context.Context, train, valid *Data, p Params) (*Model, error) {
	p, err := p.check(len(train.Names))
	if err != nil {
		return nil, err
	}
	if err := train.check(p.Objective); err != nil {
		return nil, err
	}
	if p.Patience > 0 {
		if valid == nil {
			return nil, errors.New("patience needs a validation set")
		}
		if err := valid.check(p.Objective); err != nil {
			return nil, err
		}
		if !slices.Equal(valid.Names, train.Names) {
			return nil, errors.New("the validation set has other features")
		}
	}
	n := len(train.Y)
	gr := newGrower(train, p)
	m := &Model{Params: p, Names: slices.Clone(train.Names), bins: gr.bins, Base: p.start(train), Rows: n}
	score := make([]float64, n)
	for i := range score {
		score[i] = m.Base
	}
	stop := newStopper(m, valid, p)
	for len(m.trees) < p.Trees {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		t := gr.grow(score)
		if t == nil {
			break
		}
		m.trees = append(m.trees, *t)
		if stop.done() {
			break
		}
	}
	stop.trim()
	m.compile()
	return m, nil
}

// stopper watches the loss on later data.
type stopper struct {
	m        *Model
	valid    *Data
	table    *binned
	score    []float64
	best     float64
	keep     int
	patience int
}

func newStopper(m *Model, valid *Data, p Params) *stopper {
	s := &stopper{m: m, patience: p.Patience}
	if p.Patience == 0 {
		return s
	}
	s.valid, s.table, s.score = valid, newBinned(valid, m.bins, p.Threads), make([]float64, len(valid.Y))
	for i := range s.score {
		s.score[i] = m.Base
	}
	s.best = p.loss(valid, s.score)
	return s
}

// done judges the newest tree and reports whether to stop.
func (s *stopper) done() bool {
	if s.patience == 0 {
		return false
	}
	t := &s.m.trees[len(s.m.trees)-1]
	for i := range s.score {
		s.score[i] += t.at(func(feature int) uint8 { return s.table.bin(int32(i), feature) })
	}
	if l := s.m.Params.loss(s.valid, s.score); l < s.best {
		s.best, s.keep = l, len(s.m.trees)
	}
	return len(s.m.trees)-s.keep >= s.patience
}

// trim drops the trees after the best one.
func (s *stopper) trim() {
	if s.patience > 0 {
		s.m.trees = s.m.trees[:s.keep]
	}
}
