package golearn

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/sjwhitworth/golearn/base"
	"github.com/sjwhitworth/golearn/trees"
)

// Options of Fit. The zero value is usable.
type Options struct {
	Trees    int    // 0 means 51; 1 grows one readable tree on all rows and features
	Features int    // features that one tree sees; 0 means a third of them, at least 4
	Rows     int    // rows that one tree sees; 0 means all, at most 4,000
	MinLeaf  int    // fewest rows of a leaf; 0 means max(10, rows/150)
	Depth    int    // 0 means as many as the tree has features
	Seed     uint64 // the same seed, data and options give the same bytes
	Threads  int    // 0 means 2; does not change the result
}

// Node is one node of a compiled tree: value <= Threshold goes to Left, else to Right. A leaf has Feature −1 and carries P.
type Node struct {
	Feature     int32
	Left, Right int32
	Threshold   float64
	P           float64 // (ones+1)/(rows+2) of the training rows that reached the node, for every node
}

// Forest is a fitted set of trees over columns in the order of Names. It is immutable and safe for concurrent use.
type Forest struct {
	Names []string
	Fill  []float64 // stands for NaN, per column
	Trees [][]Node
}

// ErrOneClass is returned by Fit when all labels are equal.
var ErrOneClass = errors.New("all labels are equal")

// Fit grows a forest on columns (columns[j][i] is feature names[j] of row i, NaN where missing) and labels 0 or 1. groups[i] is a number
// that rows of one user share, so that a user is in or out of a tree's sample as a whole. oob[i] is the mean leaf frequency of row i over
// the trees that did not see its group, NaN when all did: honest input for calibration.
func Fit(ctx context.Context, names []string, columns [][]float64, y []float64, groups []int, o Options) (f *Forest, oob []float64, err error) {
	n := len(y)
	ones := 0
	for _, v := range y {
		if v > 0 {
			ones++
		}
	}
	if ones == 0 || ones == n {
		return nil, nil, ErrOneClass
	}
	if len(names) == 0 || len(columns) != len(names) {
		return nil, nil, fmt.Errorf("%d columns for %d names", len(columns), len(names))
	}
	o = o.defaults(n, len(names))
	t := newTable(names, columns, y, groups)
	f = &Forest{Names: slices.Clone(names), Fill: t.fill, Trees: make([][]Node, o.Trees)}
	samples := make([][]int, o.Trees)
	// golearn starts all trees of a forest at once; a pool of o.Threads keeps memory bounded.
	var wg sync.WaitGroup
	for worker := range o.Threads {
		wg.Go(func() {
			for k := worker; k < o.Trees && ctx.Err() == nil; k += o.Threads {
				rng := rand.New(rand.NewPCG(o.Seed, uint64(k)))
				rows, features := t.sample(rng, o)
				samples[k] = rows
				f.Trees[k] = grow(t, rows, features, o)
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return nil, nil, ctx.Err()
	}
	return f, f.outOfBag(t, columns, samples), nil
}

func (o Options) defaults(rows, features int) Options {
	if o.Trees == 0 {
		o.Trees = 51
	}
	if o.Features == 0 || o.Features > features {
		o.Features = min(features, max(4, (features+2)/3))
	}
	if o.Trees == 1 {
		o.Features = features
	}
	if o.Rows == 0 || o.Rows > rows {
		o.Rows = min(rows, 4000)
	}
	if o.MinLeaf == 0 {
		o.MinLeaf = max(10, o.Rows/150)
	}
	if o.Depth == 0 {
		o.Depth = o.Features
	}
	if o.Threads == 0 {
		o.Threads = 2
	}
	return o
}

// grow lets golearn induce one tree on a grid of the sample and compiles it.
func grow(t *table, rows, features []int, o Options) []Node {
	grid := base.NewDenseInstances()
	specs := make([]base.AttributeSpec, len(features))
	for k, j := range features {
		specs[k] = grid.AddAttribute(base.NewFloatAttribute(t.names[j]))
	}
	rowAttr := base.NewFloatAttribute(rowColumn)
	rowSpec := grid.AddAttribute(rowAttr)
	class := base.NewCategoricalAttribute()
	class.SetName(classColumn)
	zero, one := class.GetSysValFromString("0"), class.GetSysValFromString("1")
	classSpec := grid.AddAttribute(class)
	_ = grid.AddClassAttribute(class) // errs only for an attribute that was not added
	_ = grid.Extend(len(rows))        // errs only on a grid that was extended before
	for i, r := range rows {
		for k, j := range features {
			grid.Set(specs[k], i, base.PackFloatToBytes(t.values[j][r]))
		}
		grid.Set(rowSpec, i, base.PackFloatToBytes(float64(r)))
		if t.y[r] > 0 {
			grid.Set(classSpec, i, one)
		} else {
			grid.Set(classSpec, i, zero)
		}
	}
	rule := &splitter{t: t, minLeaf: o.MinLeaf, left: o.Depth, row: rowAttr, features: len(features)}
	tree := trees.NewID3DecisionTreeFromRule(0, rule)
	_ = tree.Fit(grid) // ID3's Fit has no failing path: it returns nil
	return compile(tree.Root, t)
}

// compile flattens golearn's linked nodes, parents before children.
func compile(root *trees.DecisionTreeNode, t *table) []Node {
	nodes := make([]Node, 0, 64)
	var add func(n *trees.DecisionTreeNode) int32
	add = func(n *trees.DecisionTreeNode) int32 {
		ones, all := float64(n.ClassDist["1"]), float64(n.ClassDist["0"]+n.ClassDist["1"])
		at := int32(len(nodes))
		nodes = append(nodes, Node{Feature: -1, P: (ones + 1) / (all + 2)})
		low, high := n.Children["0"], n.Children["1"]
		if n.SplitRule == nil || n.SplitRule.SplitAttr == nil || low == nil || high == nil {
			return at
		}
		feature := int32(slices.Index(t.names, n.SplitRule.SplitAttr.GetName()))
		left := add(low)
		right := add(high)
		nodes[at].Feature, nodes[at].Threshold, nodes[at].Left, nodes[at].Right = feature, n.SplitRule.SplitVal, left, right
		return at
	}
	add(root)
	return nodes
}

// outOfBag averages, for every row, the trees that did not sample its group.
func (f *Forest) outOfBag(t *table, columns [][]float64, samples [][]int) []float64 {
	sum, count := make([]float64, len(t.y)), make([]float64, len(t.y))
	row := make([]float64, len(f.Names))
	for k, rows := range samples {
		seen := make(map[int]bool, len(rows))
		for _, r := range rows {
			seen[t.group(r)] = true
		}
		for i := range t.y {
			if !seen[t.group(i)] {
				sum[i] += walk(f.Trees[k], f.gather(columns, i, row))
				count[i]++
			}
		}
	}
	for i := range sum {
		if count[i] == 0 {
			sum[i] = math.NaN()
			continue
		}
		sum[i] /= count[i]
	}
	return sum
}

// Predict writes the mean leaf frequency of class 1 of every row into dst; columns are in the order of f.Names. It is not calibrated.
func (f *Forest) Predict(columns [][]float64, dst []float64) {
	row := make([]float64, len(f.Names))
	for i := range dst {
		f.gather(columns, i, row)
		var sum float64
		for _, tree := range f.Trees {
			sum += walk(tree, row)
		}
		dst[i] = sum / float64(len(f.Trees))
	}
}

// gather copies row i with missing values filled.
func (f *Forest) gather(columns [][]float64, i int, row []float64) []float64 {
	for j := range row {
		if row[j] = columns[j][i]; math.IsNaN(row[j]) {
			row[j] = f.Fill[j]
		}
	}
	return row
}

func walk(nodes []Node, row []float64) float64 {
	k := int32(0)
	for nodes[k].Feature >= 0 {
		if row[nodes[k].Feature] > nodes[k].Threshold {
			k = nodes[k].Right
		} else {
			k = nodes[k].Left
		}
	}
	return nodes[k].P
}

// Contribute adds to dst[j] how much feature j moved row i from the forest's base rate: along each path the change of P goes to the
// feature that was split on (Saabas 2014), averaged over trees.
func (f *Forest) Contribute(columns [][]float64, i int, row, dst []float64) {
	f.gather(columns, i, row)
	for _, nodes := range f.Trees {
		k := int32(0)
		for nodes[k].Feature >= 0 {
			next := nodes[k].Left
			if row[nodes[k].Feature] > nodes[k].Threshold {
				next = nodes[k].Right
			}
			dst[nodes[k].Feature] += (nodes[next].P - nodes[k].P) / float64(len(f.Trees))
			k = next
		}
	}
}

// Importance returns how often each feature is split on, as shares that sum to 1 (all 0 for a forest of bare leaves).
func (f *Forest) Importance() []float64 {
	shares := make([]float64, len(f.Names))
	var all float64
	for _, nodes := range f.Trees {
		for _, n := range nodes {
			if n.Feature >= 0 {
				shares[n.Feature]++
				all++
			}
		}
	}
	for j := range shares {
		shares[j] /= max(all, 1)
	}
	return shares
}
