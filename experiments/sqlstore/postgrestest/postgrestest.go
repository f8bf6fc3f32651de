// Package postgrestest starts the machine's PostgreSQL for tests: a private server on a unix socket, from the packages that `make test` installs.
package postgrestest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Server is a private PostgreSQL. Its superuser is perennial, without a password.
type Server struct {
	Dir string // of its socket and data
	run func(args ...string) error
	bin string
}

// Start makes and starts a server. initdb refuses root, so root becomes the user postgres.
func Start() (*Server, error) {
	bins, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(bins) == 0 {
		return nil, errors.New("PostgreSQL is not installed: `make test` installs it (Debian: apt-get install postgresql)")
	}
	bin := filepath.Dir(bins[len(bins)-1])
	dir, err := os.MkdirTemp("", "perennial-pg")
	if err != nil {
		return nil, err
	}
	var prefix []string
	if os.Getuid() == 0 {
		u, err := user.Lookup("postgres")
		if err != nil {
			return nil, err
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		if err := os.Chown(dir, uid, gid); err != nil {
			return nil, err
		}
		prefix = []string{"runuser", "-u", "postgres", "--"}
	}
	run := func(args ...string) error {
		args = append(slices.Clone(prefix), args...)
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, out)
		}
		return nil
	}
	if err := run(filepath.Join(bin, "initdb"), "-D", filepath.Join(dir, "data"), "-U", "perennial", "-A", "trust", "-E", "UTF8", "--no-sync"); err != nil {
		return nil, err
	}
	s := &Server{Dir: dir, run: run, bin: bin}
	return s, s.Control("start")
}

// Control is pg_ctl: start or stop. A stop does not wait for anybody, as a crash does not.
func (s *Server) Control(action string) error {
	return s.run(filepath.Join(s.bin, "pg_ctl"), "-D", filepath.Join(s.Dir, "data"), "-w", "-m", "immediate", "-l", filepath.Join(s.Dir, "log"),
		"-o", "-c listen_addresses='' -c fsync=off -k "+s.Dir, action)
}

// Create makes an empty database.
func (s *Server) Create(name string) error {
	return s.run(filepath.Join(s.bin, "createdb"), "-h", s.Dir, "-U", "perennial", name)
}

// Address is what a driver opens to reach a database.
func (s *Server) Address(name string) string {
	return "host=" + s.Dir + " user=perennial dbname=" + name
}

// Close stops the server and removes its data.
func (s *Server) Close() error { return errors.Join(s.Control("stop"), os.RemoveAll(s.Dir)) }
