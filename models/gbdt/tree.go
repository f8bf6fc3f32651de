package gbdt

// maxDepth bounds a tree's depth: paths are short and the readers' loops bounded.
const maxDepth = 64

// node is one node of a tree. A leaf has Left == Right == itself.
type node struct {
	Feature     int32
	Left, Right int32
	Bin         uint8
	MissingLeft bool
	Cat         bool
	Levels      levelSet
	Value       float64 // of a leaf
	Cover       float64 // rows that came through
	Gain        float64
}

// tree is one boosted tree over bins.
type tree struct{ nodes []node }

// add appends a leaf and returns its index.
func (t *tree) add() int {
	i := int32(len(t.nodes))
	t.nodes = append(t.nodes, node{Left: i, Right: i})
	return int(i)
}

func (n *node) leaf(i int) bool { return int(n.Left) == i }

// split turns a leaf into an inner node and returns its children.
func (t *tree) split(at int, s *split) (left, right int) {
	left, right = t.add(), t.add()
	n := &t.nodes[at]
	n.Feature, n.Bin, n.MissingLeft, n.Cat, n.Levels, n.Gain = int32(s.feature), s.bin, s.missingLeft && !s.cat, s.cat, s.levels, s.gain
	n.Left, n.Right = int32(left), int32(right)
	return left, right
}

func (t *tree) settle(at int, value, rows float64) {
	t.nodes[at].Value, t.nodes[at].Cover = value, rows
}

// cover fills the inner nodes' cover. Children stand after their parents.
func (t *tree) cover() {
	for i := len(t.nodes) - 1; i >= 0; i-- {
		if n := &t.nodes[i]; !n.leaf(i) {
			n.Cover = t.nodes[n.Left].Cover + t.nodes[n.Right].Cover
		}
	}
}

// goesLeft says where a bin goes at an inner node.
func (n *node) goesLeft(b uint8) bool {
	switch {
	case b == missing:
		return n.MissingLeft
	case n.Cat:
		return n.Levels.has(b)
	}
	return b <= n.Bin
}

// at returns the tree's output for the bins of one row: the plain walk that the fast ones are tested against.
func (t *tree) at(bin func(feature int) uint8) float64 {
	i := 0
	for {
		n := &t.nodes[i]
		if n.leaf(i) {
			return n.Value
		}
		if n.goesLeft(bin(int(n.Feature))) {
			i = int(n.Left)
		} else {
			i = int(n.Right)
		}
	}
}

// depth returns the length of the longest path.
func (t *tree) depth() int {
	depths, longest := make([]int, len(t.nodes)), 0
	for i := range t.nodes {
		n := &t.nodes[i]
		longest = max(longest, depths[i])
		if !n.leaf(i) {
			depths[n.Left], depths[n.Right] = depths[i]+1, depths[i]+1
		}
	}
	return longest
}
