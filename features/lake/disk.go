package lake

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// disk watches the free space of the data directory's file system, at most once a second.
type disk struct {
	at   atomic.Int64 // unix ns of the last look
	free atomic.Int64
}

// check errs with ErrDiskFull when less than max(reserve, 2 × tail) bytes are free: the journal's store does not survive a write
// that fails, and a seal needs room for the segments before the tail can go.
func (d *disk) check(dir string, reserve, tail int64) error {
	free, err := d.look(dir)
	if err != nil {
		return err
	}
	if free < max(reserve, 2*tail) {
		return ErrDiskFull
	}
	return nil
}

func (d *disk) look(dir string) (int64, error) {
	now := time.Now().UnixNano()
	last := d.at.Load()
	if last != 0 && now-last < int64(time.Second) {
		return d.free.Load(), nil
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	free := int64(st.Bavail) * st.Bsize
	d.free.Store(free)
	d.at.Store(now)
	return free, nil
}
