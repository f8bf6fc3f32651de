package gbdt

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
)

// The file: magic, the length of a JSON header (uint32), the header, then per tree its node count (uint32) and its nodes, then the
// SHA-256 of all before it. Numbers are little-endian. The same model gives the same bytes.
const magic = "PGBT0001"

const (
	maxHeader = 64 << 20
	nodeBytes = 4*3 + 4 + 8*3
	catBytes  = 32
)

type header struct {
	Params Params      `json:"params"`
	Names  []string    `json:"names"`
	Base   float64     `json:"base"`
	Rows   int         `json:"rows"`
	Trees  int         `json:"trees"`
	Bins   []binHeader `json:"bins"`
}

type binHeader struct {
	Edges  []float64 `json:"edges,omitempty"`
	Levels []float64 `json:"levels,omitempty"`
	Cat    bool      `json:"cat,omitempty"`
}

// Save returns the model's bytes.
func (m *Model) Save() ([]byte, error) {
	h := header{Params: m.Params, Names: m.Names, Base: m.Base, Rows: m.Rows, Trees: len(m.trees)}
	for _, b := range m.bins {
		h.Bins = append(h.Bins, binHeader{Edges: b.Edges, Levels: b.Levels, Cat: b.Cat})
	}
	head, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("model header: %w", err)
	}
	out := append([]byte(magic), binary.LittleEndian.AppendUint32(nil, uint32(len(head)))...)
	out = append(out, head...)
	for i := range m.trees {
		nodes := m.trees[i].nodes
		out = binary.LittleEndian.AppendUint32(out, uint32(len(nodes)))
		for k := range nodes {
			n := &nodes[k]
			for _, v := range []int32{n.Feature, n.Left, n.Right} {
				out = binary.LittleEndian.AppendUint32(out, uint32(v))
			}
			out = append(out, n.Bin, flag(n.MissingLeft), flag(n.Cat), 0)
			for _, v := range []float64{n.Value, n.Cover, n.Gain} {
				out = binary.LittleEndian.AppendUint64(out, math.Float64bits(v))
			}
			if n.Cat {
				for _, w := range n.Levels {
					out = binary.LittleEndian.AppendUint64(out, w)
				}
			}
		}
	}
	sum := sha256.Sum256(out)
	return append(out, sum[:]...), nil
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// ErrCorrupt is returned by Load for bytes that Save did not write.
var ErrCorrupt = errors.New("not a gbdt model, or a damaged one")

// Load reads what Save wrote. Hostile bytes give an error: every length is bounded by the bytes that are there.
func Load(raw []byte) (*Model, error) {
	if len(raw) < len(magic)+4+sha256.Size || string(raw[:len(magic)]) != magic {
		return nil, ErrCorrupt
	}
	body, sum := raw[:len(raw)-sha256.Size], raw[len(raw)-sha256.Size:]
	if got := sha256.Sum256(body); !bytes.Equal(got[:], sum) {
		return nil, fmt.Errorf("%w: checksum", ErrCorrupt)
	}
	rest := body[len(magic):]
	size := binary.LittleEndian.Uint32(rest)
	rest = rest[4:]
	if size > maxHeader || int(size) > len(rest) {
		return nil, fmt.Errorf("%w: header", ErrCorrupt)
	}
	var h header
	if err := json.Unmarshal(rest[:size], &h); err != nil {
		return nil, fmt.Errorf("%w: header: %v", ErrCorrupt, err)
	}
	m, err := h.model()
	if err != nil {
		return nil, err
	}
	rest = rest[size:]
	for range h.Trees {
		var t tree
		if t, rest, err = readTree(rest, m); err != nil {
			return nil, err
		}
		m.trees = append(m.trees, t)
	}
	if len(rest) != 0 {
		return nil, fmt.Errorf("%w: %d bytes too many", ErrCorrupt, len(rest))
	}
	if m.conditions() > maxConditions {
		return nil, fmt.Errorf("%w: %d trees so deep that their explanations would not fit into memory", ErrCorrupt, len(m.trees))
	}
	m.compile()
	return m, nil
}

func (h *header) model() (*Model, error) {
	if len(h.Names) == 0 || len(h.Names) > maxFeatures || len(h.Bins) != len(h.Names) || h.Trees < 0 || h.Trees > 100_000 {
		return nil, fmt.Errorf("%w: %d names, %d bins, %d trees", ErrCorrupt, len(h.Names), len(h.Bins), h.Trees)
	}
	if _, err := h.Params.check(len(h.Names)); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrCorrupt, err)
	}
	m := &Model{Params: h.Params, Names: h.Names, Base: h.Base, Rows: h.Rows}
	for j, b := range h.Bins {
		if len(b.Edges) > 254 || len(b.Levels) > 255 {
			return nil, fmt.Errorf("%w: feature %d has too many bins", ErrCorrupt, j)
		}
		for i := 1; i < len(b.Edges); i++ {
			if !(b.Edges[i-1] < b.Edges[i]) {
				return nil, fmt.Errorf("%w: the edges of feature %d do not rise", ErrCorrupt, j)
			}
		}
		nb := bins{Edges: b.Edges, Levels: b.Levels, Cat: b.Cat}
		nb.index()
		m.bins = append(m.bins, nb)
	}
	return m, nil
}

// readTree reads one tree and returns what is left. Children stand after their parent, so every walk ends.
func readTree(raw []byte, m *Model) (tree, []byte, error) {
	var t tree
	if len(raw) < 4 {
		return t, nil, fmt.Errorf("%w: a tree is cut off", ErrCorrupt)
	}
	count := int(binary.LittleEndian.Uint32(raw))
	raw = raw[4:]
	if count < 1 || count > 2*maxLeaves || count*nodeBytes > len(raw) {
		return t, nil, fmt.Errorf("%w: a tree of %d nodes", ErrCorrupt, count)
	}
	t.nodes = make([]node, count)
	parents := make([]uint8, count)
	for k := range t.nodes {
		if len(raw) < nodeBytes {
			return t, nil, fmt.Errorf("%w: a node is cut off", ErrCorrupt)
		}
		n := &t.nodes[k]
		n.Feature = int32(binary.LittleEndian.Uint32(raw))
		n.Left = int32(binary.LittleEndian.Uint32(raw[4:]))
		n.Right = int32(binary.LittleEndian.Uint32(raw[8:]))
		n.Bin, n.MissingLeft, n.Cat = raw[12], raw[13] == 1, raw[14] == 1
		n.Value = math.Float64frombits(binary.LittleEndian.Uint64(raw[16:]))
		n.Cover = math.Float64frombits(binary.LittleEndian.Uint64(raw[24:]))
		n.Gain = math.Float64frombits(binary.LittleEndian.Uint64(raw[32:]))
		raw = raw[nodeBytes:]
		if n.Cat {
			if len(raw) < catBytes {
				return t, nil, fmt.Errorf("%w: a node is cut off", ErrCorrupt)
			}
			for w := range n.Levels {
				n.Levels[w] = binary.LittleEndian.Uint64(raw[8*w:])
			}
			raw = raw[catBytes:]
		}
		leaf := int(n.Left) == k && int(n.Right) == k
		inner := int(n.Left) > k && int(n.Right) > k && int(n.Left) < count && int(n.Right) < count && n.Left != n.Right
		known := n.Feature >= 0 && int(n.Feature) < len(m.Names)
		if !leaf && !inner || !known || n.Bin > 254 || math.IsNaN(n.Value) || math.IsInf(n.Value, 0) || !(n.Cover >= 0) || n.Cat != m.bins[n.Feature].Cat && inner {
			return t, nil, fmt.Errorf("%w: node %d", ErrCorrupt, k)
		}
		if inner {
			parents[n.Left]++
			parents[n.Right]++
		}
	}
	for k, p := range parents {
		if k > 0 && p != 1 {
			return t, nil, fmt.Errorf("%w: node %d has %d parents", ErrCorrupt, k, p)
		}
	}
	if t.depth() > maxDepth {
		return t, nil, fmt.Errorf("%w: depth", ErrCorrupt)
	}
	return t, raw, nil
}
