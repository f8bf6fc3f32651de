package lake

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// fileLock is an advisory lock of the machine; the kernel lets go of it when the process dies.
type fileLock struct{ f *os.File }

// tryLock takes an exclusive flock; ok is false when another open file holds it.
func tryLock(path string) (lock *fileLock, ok bool, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, false, err
	}
	switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
	case err == nil:
		return &fileLock{f}, true, nil
	case errors.Is(err, unix.EWOULDBLOCK):
		return nil, false, f.Close()
	default:
		return nil, false, errors.Join(fmt.Errorf("lock %s: %w", filepath.Base(path), err), f.Close())
	}
}

// waitLock polls for the lock until it has it, the context ends or wait is over (ErrBusy).
func waitLock(ctx context.Context, path string, wait, pause time.Duration) (*fileLock, error) {
	until := time.Now().Add(wait)
	for {
		lock, ok, err := tryLock(path)
		if err != nil || ok {
			return lock, err
		}
		if time.Now().After(until) {
			return nil, ErrBusy
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pause):
		}
	}
}

func (l *fileLock) unlock() error { return l.f.Close() }

// syncFile makes the bytes of a file, or the names of a directory, durable.
func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// renameNew renames a directory without replacing; it errs with os.ErrExist where the name is taken.
func renameNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	switch {
	case errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS): // a file system without the flag; the lake lock is held
		if _, statErr := os.Lstat(to); statErr == nil {
			return &os.LinkError{Op: "rename", Old: from, New: to, Err: unix.EEXIST}
		}
		return os.Rename(from, to)
	case err != nil:
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

// mkdirSync makes a directory and its parents below root and syncs each parent that got a new name.
func mkdirSync(root, dir string) error {
	if dir == root {
		return nil
	}
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := mkdirSync(root, filepath.Dir(dir)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return syncFile(filepath.Dir(dir))
}

// checksum returns the hex sha256 of a file and its length.
func checksum(path string) (sum string, bytes int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	h := sha256.New()
	bytes, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), bytes, errors.Join(err, f.Close())
}
