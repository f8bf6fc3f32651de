package lake

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// disk watches the free space of the data directory's file system: once a second, and whenever what was written since the last
// look could matter.
type disk struct {
	at    atomic.Int64 // unix ns of the last look
	free  atomic.Int64
	spent atomic.Int64 // bytes given to the journal since the last look
}

// amplification is how many bytes of the file system a byte of the journal may take before the store's next look at itself: the
// write-ahead file, the table that it becomes, and the table that a compaction makes of that.
const amplification = 3

// check errs with ErrDiskFull when less than max(reserve, 2 × tail) bytes are free: the journal's store does not survive a write
// that fails, and a seal needs room for the segments before the tail can go.
func (d *disk) check(dir string, reserve, tail int64) error {
	free, err := d.look(dir, reserve/16)
	if err != nil {
		return err
	}
	if free < max(reserve, 2*tail) {
		return ErrDiskFull
	}
	return nil
}

// wrote notes bytes that the journal took.
func (d *disk) wrote(n int) { d.spent.Add(amplification * int64(n)) }

// look returns the free bytes; what was written since the last look is taken off, and more than slack of it asks anew.
func (d *disk) look(dir string, slack int64) (int64, error) {
	now := time.Now().UnixNano()
	last, spent := d.at.Load(), d.spent.Load()
	if last != 0 && now-last < int64(time.Second) && spent <= slack {
		return d.free.Load() - spent, nil
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	free := int64(st.Bavail) * st.Bsize
	d.spent.Add(-spent)
	d.free.Store(free)
	d.at.Store(now)
	return free, nil
}
