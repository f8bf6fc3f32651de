package unleash_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"perennial/experiments"
	"perennial/experiments/unleash"
	"perennial/experiments/unleash/flags"
)

// nodeModules is where `make build/sdk/node/.installed` puts the SDKs of npm.
const nodeModules = "../../build/sdk/node/node_modules"

// nodeSDK is unleash-client of npm in a process of its own, fed over HTTP from our document.
type nodeSDK struct {
	in     *json.Encoder
	out    *bufio.Reader
	url    string
	encode atomic.Pointer[func(spec string) []byte]
	body   atomic.Pointer[[]byte] // the document that was fetched last
}

// nodeContext is an Unleash context as the SDK takes it.
type nodeContext struct {
	UserID      string            `json:"userId"`
	CurrentTime string            `json:"currentTime"`
	Properties  map[string]string `json:"properties"`
}

func startNode(t *testing.T) *nodeSDK {
	t.Helper()
	modules, err := filepath.Abs(nodeModules)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(modules, "unleash-client")); err != nil {
		t.Fatalf("unleash-client of npm is not there: run `make build/sdk/node/.installed` (`make test` does): %v", err)
	}
	n := &nodeSDK{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/client/features" {
			w.WriteHeader(http.StatusAccepted)
			return
		}
		body := (*n.encode.Load())(r.Header.Get("Unleash-Client-Spec"))
		n.body.Store(&body)
		w.Write(body)
	}))
	t.Cleanup(server.Close)
	n.url = server.URL + "/api"
	var stderr bytes.Buffer
	command := exec.CommandContext(t.Context(), "node", "testdata/node/answer.cjs")
	command.Env, command.Stderr = append(os.Environ(), "NODE_PATH="+modules), &stderr
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := command.Wait(); err != nil && t.Context().Err() == nil {
			t.Errorf("node: %v: %s", err, stderr.String())
		}
	})
	n.in, n.out = json.NewEncoder(in), bufio.NewReader(out)
	return n
}

// ask returns [variant, payload type, payload value] by context and flag.
func (n *nodeSDK) ask(t *testing.T, names []string, contexts []nodeContext) (answers [][][3]string) {
	t.Helper()
	if err := n.in.Encode(map[string]any{"url": n.url, "flags": names, "contexts": contexts}); err != nil {
		t.Fatal(err)
	}
	line, err := n.out.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &answers)
	}
	if err != nil {
		t.Fatalf("node: %v", err)
	}
	return answers
}

// datesOfAttributes tells whether an experiment, or its prerequisite, compares the time in an attribute: the Node SDK compares currentTime instead, whatever
// the document says.
func datesOfAttributes(s *experiments.Snapshot, key string) bool {
	e, ok := s.Experiment(key)
	return ok && (slices.ContainsFunc(e.Targeting, func(c experiments.Constraint) bool {
		return strings.HasPrefix(c.Operator, "DATE_") && c.Attribute != "currentTime"
	}) || e.Prerequisite != nil && datesOfAttributes(s, e.Prerequisite.Experiment))
}

// The server and the Node SDK must give every ASCII unit the same variant and payload.
func TestNodeSDKAgreesWithServer(t *testing.T) {
	const size, units = 40, 250
	node, compared := startNode(t), 0
	for seed := uint64(1_000_001); compared < *pairs; seed++ {
		s := newShop(t, seed, size)
		snapshot := compile(t, s.source)
		encode := func(spec string) []byte {
			body, _ := unleash.EncodeFeatures(snapshot, spec)
			return body
		}
		node.encode.Store(&encode)
		asked, contexts := make([]*experiments.Unit, units), make([]nodeContext, units)
		for i := range asked {
			u, properties := s.unit()
			asked[i], contexts[i] = u, nodeContext{u.ID, now.Format(time.RFC3339Nano), properties}
		}
		answers := node.ask(t, snapshot.Keys(), contexts)
		document, err := flags.Parse(*node.body.Load())
		if err != nil {
			t.Fatal(err)
		}
		exported := 0
		for k, key := range snapshot.Keys() {
			if !document.Has(key) || datesOfAttributes(snapshot, key) {
				continue
			}
			exported++
			for i, u := range asked {
				compared++
				want, payload := seen(snapshot.Assign(u, key))
				got := answers[i][k]
				if got[0] != want {
					e, _ := snapshot.Experiment(key)
					t.Fatalf("seed %d: %s for %q %v: server %q, Node SDK %q; targeting %+v", seed, key, u.ID, contexts[i].Properties, want, got[0], e.Targeting)
				}
				if want != flags.Disabled && payload != nil && (got[1] != payload.Type || got[2] != payload.Value) {
					t.Fatalf("seed %d: %s for %q: payload %q, want %+v", seed, key, u.ID, got[1:], *payload)
				}
			}
		}
		if exported < size/8 {
			t.Fatalf("seed %d: only %d of %d experiments are compared", seed, exported, size)
		}
	}
	t.Logf("%d pairs", compared)
}
