package warehouse

import (
	"math"
	"math/bits"
)

// tree is a tournament of streams by the user of their next row: nodes[i] is who lost at the node i, nodes[0] won.
type tree struct {
	streams []*stream
	nodes   []player
}

// player is a stream by the key of its next row.
type player struct {
	key    uint64 // ended when it has none
	stream uint64
}

// ended is above the key of every row.
const ended = math.MaxUint64

// player is the stream i as it stands.
func (t *tree) player(i uint64) player {
	if c := t.streams[i]; len(c.rows) > 0 {
		return player{c.keys[c.i], i}
	}
	return player{ended, i}
}

// play returns the winner and the loser of two. Which of two streams of one user comes first is all the same.
func (t *tree) play(a, b player) (winner, loser player) {
	if a.key < b.key || a.key == b.key && (isWholeKey(a.key) || a.key == ended || t.streams[a.stream].user() <= t.streams[b.stream].user()) {
		return a, b
	}
	return b, a
}

// newTree starts the tournament.
func newTree(streams []*stream) *tree {
	n := len(streams)
	t := &tree{streams: streams, nodes: make([]player, max(1, n))}
	winners := make([]player, 2*n)
	for i := range streams {
		winners[n+i] = t.player(uint64(i))
	}
	for i := n - 1; i > 0; i-- {
		winners[i], t.nodes[i] = t.play(winners[2*i], winners[2*i+1])
	}
	t.nodes[0] = winners[1]
	return t
}

// top is the stream whose next row comes first, nil when all have ended.
func (t *tree) top() *stream {
	if t.nodes[0].key == ended {
		return nil
	}
	return t.streams[t.nodes[0].stream]
}

// moved replays the matches of the top after it moved. Who wins is a coin to the processor, so it is computed and not branched on.
func (t *tree) moved() {
	winner := t.player(t.nodes[0].stream)
	for i := (winner.stream + uint64(len(t.streams))) / 2; i > 0; i /= 2 {
		node := &t.nodes[i]
		if node.key == winner.key && !isWholeKey(node.key) {
			winner, *node = t.play(winner, *node)
			continue
		}
		_, lost := bits.Sub64(node.key, winner.key, 0)
		key, stream := (node.key^winner.key)&-lost, (node.stream^winner.stream)&-lost
		node.key, winner.key = node.key^key, winner.key^key
		node.stream, winner.stream = node.stream^stream, winner.stream^stream
	}
	t.nodes[0] = winner
}
