package warehouse

// Join makes an engine compute what is built from tiles in SQL, as a cluster does: what the sweep is compared with.
func (e *Engine) Join(joined bool) { e.joined = joined }
