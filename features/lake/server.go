package lake

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// maxSocketPath is what every kernel takes as the path of a socket.
const maxSocketPath = 100

// server is what runs while this process owns the journal.
type server struct {
	mu       sync.Mutex
	listener net.Listener
	stop     chan struct{}
	done     sync.WaitGroup
	early    chan struct{} // wakes the sealer before its time
	temp     string        // a socket directory outside the data directory, or ""
	turn     chan struct{} // holds one: the lot of an import that is in memory
}

// poke asks the background sealer to look at once.
func (s *server) poke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.early != nil {
		select {
		case s.early <- struct{}{}:
		default:
		}
	}
}

// Serve opens the journal as its owner, replays what a crash left, starts the background sealer and listens on DIR/serve.sock.
// It waits up to wait for another process that holds the journal and then returns ErrBusy.
func (l *Lake) Serve(ctx context.Context, wait time.Duration) (err error) {
	if l.journal.Load() != nil {
		return errors.New("serve: this process serves already")
	}
	lock, err := waitLock(ctx, filepath.Join(l.o.Private, "serve.lock"), wait, 20*time.Millisecond)
	if err != nil {
		return fmt.Errorf("serve %s: %w", l.o.Dir, err)
	}
	j, err := l.openJournal(ctx, lock)
	if err != nil {
		return errors.Join(fmt.Errorf("serve: %w", err), lock.unlock())
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, j.shut(), lock.unlock())
		}
	}()
	if err := l.enterJournal(ctx, j, 0); err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	s := &l.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener, err = l.listen(); err != nil {
		return fmt.Errorf("serve.sock: %w", err)
	}
	stop, early, listener := make(chan struct{}), make(chan struct{}, 1), s.listener
	s.stop, s.early, s.turn = stop, early, make(chan struct{}, 1)
	l.journal.Store(j)
	if l.o.Shared != nil {
		l.beginSharing(ctx)
		s.done.Go(func() { l.shareLoop(stop) })
	}
	if l.db.shared {
		s.done.Go(func() { l.aliveLoop(stop) })
	}
	s.done.Add(3)
	go func() { defer s.done.Done(); l.flushLoop(stop) }()
	go func() { defer s.done.Done(); l.sealLoop(stop, early) }()
	go func() { defer s.done.Done(); l.acceptLoop(listener) }()
	return nil
}

// stopServing writes the exposures that wait and gives the journal up.
func (l *Lake) stopServing() error {
	s := &l.server
	s.mu.Lock()
	j := l.journal.Load()
	if j == nil {
		s.mu.Unlock()
		return nil
	}
	close(s.stop)
	err := s.listener.Close()
	s.early = nil
	s.mu.Unlock()
	s.done.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err = errors.Join(err, l.flushViews(ctx))
	l.seals.mu.Lock()
	defer l.seals.mu.Unlock()
	l.journal.Store(nil)
	err = errors.Join(err, j.shut(), l.markEmpty(ctx, j), os.Remove(filepath.Join(l.o.Private, "serve.json")))
	if s.temp != "" {
		err = errors.Join(err, os.RemoveAll(s.temp))
		s.temp = ""
	}
	return errors.Join(err, j.lock.unlock())
}

// sealLoop seals when the oldest event or the tail has grown enough, and keeps house.
func (l *Lake) sealLoop(stop <-chan struct{}, early <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		<-stop
		cancel()
	}()
	tick := time.NewTicker(min(l.o.SealEvery, time.Second))
	defer tick.Stop()
	lastHouse := time.Now()
	for {
		select {
		case <-stop:
			return
		case <-early:
		case <-tick.C:
		}
		j := l.journal.Load()
		if j == nil { // it is being reopened
			continue
		}
		if err := l.followLinks(ctx); err != nil && ctx.Err() == nil {
			l.o.Logger.Error("identity links are not fresh", "error", err)
		}
		if err := l.followServers(ctx, j); err != nil && ctx.Err() == nil {
			l.o.Logger.Error("other servers", "error", err)
		}
		since := j.oldest.Load()
		if old := since != 0 && time.Since(time.Unix(0, since)) >= l.o.SealEvery; old || j.tailEvents.Load() >= min(sealLot, l.o.MaxTail/2) {
			if err := l.sealJournal(ctx, j, false); err != nil && ctx.Err() == nil {
				l.o.Logger.Error("seal", "error", err)
			}
		}
		if l.compact.due.Swap(false) || time.Since(lastHouse) > time.Hour {
			lastHouse = time.Now()
			if err := l.keepHouse(ctx); err != nil && ctx.Err() == nil {
				l.o.Logger.Error("compact", "error", err)
			}
		}
	}
}

// listen makes the socket that other processes of this user ask for a seal. serve.lock is held, so a socket that is there is dead.
func (l *Lake) listen() (net.Listener, error) {
	path := filepath.Join(l.o.Private, "serve.sock")
	if len(path) > maxSocketPath {
		sum := sha256.Sum256([]byte(l.o.Private))
		base := "/run"
		if unix.Access(base, unix.W_OK) != nil {
			base = os.TempDir()
		}
		l.server.temp = filepath.Join(base, fmt.Sprintf("perennial-%d-%s", os.Getuid(), hex.EncodeToString(sum[:6])))
		if err := os.RemoveAll(l.server.temp); err != nil {
			return nil, err
		}
		if err := os.Mkdir(l.server.temp, 0o700); err != nil {
			return nil, err
		}
		path = filepath.Join(l.server.temp, "serve.sock")
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	doc, err := json.Marshal(map[string]any{"socket": path, "pid": os.Getpid()})
	if err == nil {
		err = os.Chmod(path, 0o600)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(l.o.Private, "serve.json"), append(doc, '\n'), 0o600)
	}
	if err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	return ln, nil
}

// acceptLoop answers until the listener is closed.
func (l *Lake) acceptLoop(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			l.o.Logger.Warn("serve.sock", "error", err)
			time.Sleep(100 * time.Millisecond)
			continue
		}
		go l.answer(c)
	}
}

// answer serves one connection: `seal`, `erase HEX` or `import KIND N` with its rows, answered by `ok …` or `error TEXT`. Only processes of the same user are
// answered.
func (l *Lake) answer(c net.Conn) {
	defer c.Close()
	if !sameUser(c) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := c.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		return
	}
	in := bufio.NewReaderSize(patient{c}, 64<<10)
	line, err := in.ReadSlice('\n')
	if err != nil {
		return
	}
	answer := "ok"
	word, rest, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
	switch word {
	case "seal":
		err = l.Seal(ctx)
	case "erase":
		var user []byte
		if user, err = hex.DecodeString(rest); err == nil {
			var p Proof
			if p, err = l.Erase(ctx, string(user)); err == nil {
				var doc []byte
				doc, err = json.Marshal(p)
				answer += " " + string(doc)
			}
		}
	case "import":
		var sums [2]int
		sums, err = l.takeIn(rest, in, c)
		answer = fmt.Sprintf("ok %d %d", sums[0], sums[1])
	default:
		err = errors.New("unknown request")
	}
	if err != nil {
		answer = "error " + strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	fmt.Fprintln(c, answer)
}

func sameUser(c net.Conn) bool {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return false
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return false
	}
	same := false
	err = raw.Control(func(fd uintptr) {
		cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		same = err == nil && int(cred.Uid) == os.Getuid()
	})
	return err == nil && same
}

// byOwner has done what only the journal's owner may do: alone, with serve.lock, which it gives back, where nobody owns the journal, and otherwise by asking
// the owner, until that could be reached (it may be starting or stopping).
func (l *Lake) byOwner(ctx context.Context, what string, alone func(lock *fileLock) error, ask func() (done bool, err error)) error {
	for until := time.Now().Add(time.Minute); ; {
		lock, ok, err := tryLock(filepath.Join(l.o.Private, "serve.lock"))
		if err != nil {
			return err
		}
		if ok {
			return alone(lock)
		}
		if done, err := ask(); done {
			return err
		}
		if time.Now().After(until) {
			return fmt.Errorf("%s: %w and does not answer", what, ErrBusy)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// dial connects to the process that owns the journal; nil when it cannot be reached.
func (l *Lake) dial(ctx context.Context) net.Conn {
	raw, err := os.ReadFile(filepath.Join(l.o.Private, "serve.json"))
	if err != nil {
		return nil
	}
	var at struct{ Socket string }
	if json.Unmarshal(raw, &at) != nil {
		return nil
	}
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", at.Socket)
	if err != nil {
		return nil
	}
	return c
}

// ask sends one request to the process that owns the journal; done is false when it cannot be reached (it starts or stops).
func (l *Lake) ask(ctx context.Context, request string) (answer string, done bool, err error) {
	c := l.dial(ctx)
	if c == nil {
		return "", ctx.Err() != nil, ctx.Err()
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.SetDeadline(time.Now()) })()
	if _, err := fmt.Fprintln(c, request); err != nil {
		return "", ctx.Err() != nil, ctx.Err()
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil { // it died or was stopped in the middle: again, whoever owns the journal then
		return "", ctx.Err() != nil, ctx.Err()
	}
	answer, err = answered(line)
	return answer, true, err
}

// answered reads a line of the server: what follows its ok, or its error.
func answered(line string) (string, error) {
	line = strings.TrimSpace(line)
	if text, failed := strings.CutPrefix(line, "error "); failed {
		return "", fmt.Errorf("the server answers: %s", text)
	}
	return strings.TrimSpace(strings.TrimPrefix(line, "ok")), nil
}
