package golearn

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/sjwhitworth/golearn/base"
	"github.com/sjwhitworth/golearn/trees"
)

// Names of the two columns of a grid that are not features. No feature of a catalog can hold a space.
const (
	rowColumn   = "row number"
	classColumn = "class label"
)

// table is the training data with missing values filled and every column cut into at most 64 bins at its quantiles.
type table struct {
	names  []string
	fill   []float64
	values [][]float64
	bins   [][]uint8
	edges  [][]float64 // edges[j][b] is the threshold between bin b and b+1
	y      []float64
	groups []int
	index  map[string]int
}

func newTable(names []string, columns [][]float64, y []float64, groups []int) *table {
	t := &table{names: names, y: y, groups: groups, index: make(map[string]int, len(names))}
	for j, col := range columns {
		t.index[names[j]] = j
		lowest := math.Inf(1)
		for _, v := range col {
			if !math.IsNaN(v) {
				lowest = min(lowest, v)
			}
		}
		if math.IsInf(lowest, 1) {
			lowest = 0
		}
		fill := lowest - 1 - math.Abs(lowest)*1e-6
		filled := make([]float64, len(col))
		for i, v := range col {
			if filled[i] = v; math.IsNaN(v) {
				filled[i] = fill
			}
		}
		edges := cut(filled, 64)
		codes := make([]uint8, len(filled))
		for i, v := range filled {
			b, _ := slices.BinarySearch(edges, v)
			codes[i] = uint8(b)
		}
		t.fill, t.values, t.edges, t.bins = append(t.fill, fill), append(t.values, filled), append(t.edges, edges), append(t.bins, codes)
	}
	return t
}

// cut returns at most bins−1 thresholds between distinct values, at equal counts. A value equal to a threshold is below it.
func cut(values []float64, bins int) []float64 {
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	edges := make([]float64, 0, bins-1)
	for b := 1; b < bins && len(sorted) > 0; b++ {
		i := len(sorted) * b / bins
		lo := sorted[i]
		next, _ := slices.BinarySearchFunc(sorted, lo, func(v, t float64) int {
			if v <= t {
				return -1
			}
			return 1
		})
		if next == len(sorted) {
			break
		}
		if mid := lo + (sorted[next]-lo)/2; len(edges) == 0 || mid > edges[len(edges)-1] {
			edges = append(edges, mid)
		}
	}
	return edges
}

func (t *table) group(i int) int {
	if t.groups == nil {
		return i
	}
	return t.groups[i]
}

// sample draws the rows and the features of one tree. Groups are drawn with replacement, so about 37 % of them stay out of the bag.
func (t *table) sample(rng *rand.Rand, o Options) (rows, features []int) {
	features = rng.Perm(len(t.names))[:o.Features]
	slices.Sort(features)
	if o.Trees == 1 {
		for i := range t.y {
			if len(t.y) <= o.Rows || rng.IntN(len(t.y)) < o.Rows {
				rows = append(rows, i)
			}
		}
		return rows, features
	}
	members := map[int][]int{}
	var order []int
	for i := range t.y {
		g := t.group(i)
		if members[g] == nil {
			order = append(order, g)
		}
		members[g] = append(members[g], i)
	}
	for len(rows) < o.Rows {
		rows = append(rows, members[order[rng.IntN(len(order))]]...)
	}
	return rows, features
}

// splitter is a trees.RuleGenerator with exact counts and exact ties. golearn hands it a view of the rows that reached a node; it reads
// only their row numbers from there.
type splitter struct {
	t        *table
	minLeaf  int
	left     int // depth
	features int
	row      base.Attribute
}

// GenerateSplitRule returns the split with the highest information gain, or nil when no split leaves minLeaf rows on both sides.
func (s *splitter) GenerateSplitRule(view base.FixedDataGrid) *trees.DecisionTreeRule {
	var candidates []int
	attrs := map[int]base.Attribute{}
	for _, a := range view.AllAttributes() {
		if j, ok := s.t.index[a.GetName()]; ok {
			candidates = append(candidates, j)
			attrs[j] = a
		}
	}
	slices.Sort(candidates)
	if s.features-len(candidates) >= s.left {
		return nil
	}
	spec, err := view.GetAttribute(s.row)
	if err != nil {
		return nil
	}
	_, n := view.Size()
	if n < 2*s.minLeaf {
		return nil
	}
	rows := make([]int, n)
	ones := 0
	for i := range rows {
		rows[i] = int(base.UnpackBytesToFloat(view.Get(spec, i)))
		if s.t.y[rows[i]] > 0 {
			ones++
		}
	}
	best, bestFeature, bestBin := 1e-9, -1, 0
	parent := entropy(ones, n)
	for _, j := range candidates {
		var count, hits [64]int
		for _, r := range rows {
			b := s.t.bins[j][r]
			count[b]++
			if s.t.y[r] > 0 {
				hits[b]++
			}
		}
		below, belowOnes := 0, 0
		for b := range s.t.edges[j] {
			below, belowOnes = below+count[b], belowOnes+hits[b]
			if below < s.minLeaf || n-below < s.minLeaf || count[b] == 0 {
				continue
			}
			gain := parent - (float64(below)*entropy(belowOnes, below)+float64(n-below)*entropy(ones-belowOnes, n-below))/float64(n)
			if gain > best {
				best, bestFeature, bestBin = gain, j, b
			}
		}
	}
	if bestFeature < 0 {
		return nil
	}
	return &trees.DecisionTreeRule{SplitAttr: attrs[bestFeature], SplitVal: s.t.edges[bestFeature][bestBin]}
}

// entropy of a two-class node, in bits.
func entropy(ones, n int) float64 {
	if ones == 0 || ones == n {
		return 0
	}
	p := float64(ones) / float64(n)
	return -p*math.Log2(p) - (1-p)*math.Log2(1-p)
}
