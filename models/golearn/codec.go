package golearn

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
)

// Bounds of a readable forest; Fit stays far below them.
const (
	maxTrees = 4096
	maxNodes = 1 << 20
)

// ErrBroken is returned by Unmarshal for bytes that are no forest.
var ErrBroken = errors.New("broken forest")

// Marshal returns the trees as little-endian bytes: the number of trees, then for each its number of nodes and the nodes.
func (f *Forest) Marshal() []byte {
	var b bytes.Buffer
	put := func(v any) { _ = binary.Write(&b, binary.LittleEndian, v) } // a bytes.Buffer does not fail
	put(uint32(len(f.Trees)))
	for _, nodes := range f.Trees {
		put(uint32(len(nodes)))
		put(nodes)
	}
	return b.Bytes()
}

// Unmarshal reads trees over names, whose missing values are filled by fill. Every link must point forward and every feature must
// exist, so that a walk always ends; anything else is ErrBroken.
func Unmarshal(raw []byte, names []string, fill []float64) (*Forest, error) {
	f := &Forest{Names: names, Fill: fill}
	if len(names) != len(fill) || len(raw) < 4 {
		return nil, ErrBroken
	}
	count := binary.LittleEndian.Uint32(raw)
	raw = raw[4:]
	if count == 0 || count > maxTrees {
		return nil, ErrBroken
	}
	const size = 28
	for range count {
		if len(raw) < 4 {
			return nil, ErrBroken
		}
		n := int(binary.LittleEndian.Uint32(raw))
		raw = raw[4:]
		if n == 0 || n > maxNodes || len(raw) < n*size {
			return nil, ErrBroken
		}
		nodes := make([]Node, n)
		if err := binary.Read(bytes.NewReader(raw[:n*size]), binary.LittleEndian, nodes); err != nil {
			return nil, ErrBroken
		}
		raw = raw[n*size:]
		for i, node := range nodes {
			leaf := node.Feature == -1
			if !leaf && (node.Feature < 0 || int(node.Feature) >= len(names) || int(node.Left) <= i || int(node.Right) <= i || int(node.Left) >= n || int(node.Right) >= n) {
				return nil, ErrBroken
			}
			if math.IsNaN(node.P) || node.P < 0 || node.P > 1 || math.IsNaN(node.Threshold) {
				return nil, ErrBroken
			}
		}
		f.Trees = append(f.Trees, nodes)
	}
	if len(raw) != 0 {
		return nil, ErrBroken
	}
	return f, nil
}
