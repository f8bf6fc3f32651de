package warehouse

// MergeAlways makes an engine merge small snapshots too, over at most so many streams a range (0: a segment each) and at least so many ranges.
func (e *Engine) MergeAlways(streams, ranges int) {
	e.pace = pace{always: true, streams: streams, ranges: ranges}
	if streams == 0 {
		e.pace.streams = 1 << 30
	}
}
