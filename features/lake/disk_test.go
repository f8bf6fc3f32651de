package lake_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"perennial/features"
	"perennial/features/lake"
)

// TestFullDisk runs a server on a tmpfs of 24 MB in a mount namespace of its own: it refuses before the file system is full,
// keeps what it acknowledged over a restart, and recovers alone when there is room again.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	c := child("disk", dir, "")
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		c.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		c.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := c.Output()
	if err != nil || strings.TrimSpace(string(out)) != "ok" {
		t.Errorf("%v: %s", err, out)
	}
}

// childDisk is the test within its namespace.
func childDisk(dir string) {
	if err := fullDisk(dir); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ok")
	os.Exit(0)
}

func fullDisk(dir string) error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64m"); err != nil {
		return fmt.Errorf("mount a tmpfs: %w", err)
	}
	const reserve = 24 << 20
	opt := func(o *lake.Options) { o.Reserve, o.SealEvery = reserve, time.Hour }
	l := childLake(dir, opt)
	acknowledged := 0
	fill := func() error {
		for n := 0; n < 100_000; n++ {
			events := batch(100, int64(acknowledged)+1_000_000_000)
			for i := range events {
				events[i].TS = time.Now().Add(-time.Second)
			}
			_, err := l.Append(context.Background(), events)
			if errors.Is(err, lake.ErrDiskFull) {
				return nil
			}
			if err != nil {
				return err
			}
			acknowledged += len(events)
		}
		return errors.New("the disk never filled")
	}
	ballast := dir + "/ballast"
	if err := os.WriteFile(ballast, make([]byte, 30<<20), 0o600); err != nil {
		return err
	}
	time.Sleep(1100 * time.Millisecond) // the free space is looked at once a second
	if err := fill(); err != nil {
		return err
	}
	if !l.Stats().DiskFull {
		return errors.New("Stats does not say that the disk is full")
	}
	if err := l.Expose(context.Background(), lake.Exposure{Unit: "u", Experiment: "x", Variant: "a", AllocationRevision: 1, At: time.Now()}, false); err != nil {
		return fmt.Errorf("expose on a full disk: %w", err)
	}
	if _, err := l.Keep(context.Background(), "x", "u", lake.Kept{}); !errors.Is(err, lake.ErrDiskFull) {
		return fmt.Errorf("keep on a full disk = %w, want ErrDiskFull", err)
	}
	if n := l.Stats().WaitingViews; n != 1 {
		return fmt.Errorf("%d exposures wait, want 1", n)
	}
	// A restart while the disk is full.
	if err := l.Close(); err != nil && !errors.Is(err, lake.ErrDiskFull) {
		return fmt.Errorf("close: %w", err)
	}
	l = childLake(dir, opt)
	if err := fill(); err != nil { // closing gave back the journal's old files
		return fmt.Errorf("after the restart: %w", err)
	}
	if err := l.Expose(context.Background(), lake.Exposure{Unit: "u", Experiment: "x", Variant: "a", AllocationRevision: 1, At: time.Now()}, false); err != nil {
		return err
	}
	if err := os.Remove(ballast); err != nil {
		return err
	}
	time.Sleep(2500 * time.Millisecond)
	if s := l.Stats(); s.DiskFull || s.WaitingViews != 0 {
		return fmt.Errorf("with room again: full %v, %d exposures wait", s.DiskFull, s.WaitingViews)
	}
	e := []features.Event{order("again", "u", time.Now().Add(-time.Second), 1)}
	if _, err := l.Append(context.Background(), e); err != nil {
		return fmt.Errorf("append with room again: %w", err)
	}
	if err := l.Seal(context.Background()); err != nil {
		return err
	}
	s, err := l.Snapshot(context.Background())
	if err != nil {
		return err
	}
	var rows int64
	for _, g := range s.Segments {
		rows += g.Rows
	}
	if want := int64(acknowledged + 2); rows != want {
		return fmt.Errorf("%d rows stored, want %d: the acknowledged, one exposure and one more", rows, want)
	}
	return errors.Join(s.Close(), l.Close())
}
