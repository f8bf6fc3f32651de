package lake

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"os"
	"path/filepath"
)

// OpenScratch opens a DuckDB whose spilled data lies in a directory of its own below temp, which goes when the database is closed; dir is what
// temp_directory is set to. Two databases in one directory give their files the same names and read each other's: DuckDB 1.5.6 then ends the process.
// What killed processes left below temp goes too.
func OpenScratch(connector driver.Connector, temp string) (db *sql.DB, dir string, err error) {
	if err := os.MkdirAll(temp, 0o700); err != nil {
		return nil, "", err
	}
	sweepScratch(temp)
	for {
		if dir, err = os.MkdirTemp(temp, "spill-*"); err != nil {
			return nil, "", err
		}
		lock, ok, err := tryLock(dir + ".lock")
		if err != nil {
			return nil, "", errors.Join(err, os.RemoveAll(dir))
		}
		if ok {
			return sql.OpenDB(scratch{connector, dir, lock}), dir, nil
		}
		os.RemoveAll(dir) // somebody swept it before it was locked
	}
}

// scratch is a connector that removes its directory.
type scratch struct {
	driver.Connector
	dir  string
	lock *fileLock
}

// Close is called by the Close of the database.
func (s scratch) Close() (err error) {
	if c, ok := s.Connector.(io.Closer); ok {
		err = c.Close()
	}
	return errors.Join(err, os.RemoveAll(s.dir), os.Remove(s.dir+".lock"), s.lock.unlock())
}

// sweepScratch removes the directories whose processes are gone: nobody holds their locks.
func sweepScratch(temp string) {
	locks, _ := filepath.Glob(filepath.Join(temp, "spill-*.lock"))
	for _, path := range locks {
		lock, ok, err := tryLock(path)
		if err != nil || !ok {
			continue
		}
		os.RemoveAll(path[:len(path)-len(".lock")])
		os.Remove(path)
		lock.unlock()
	}
}
