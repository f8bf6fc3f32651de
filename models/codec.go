package models

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
)

// An artifact is one file: the magic, a format version, a number of named sections each with its CRC, and the SHA-256 of all before it.
// Integers are little-endian. The first section is "header", JSON. A section may hold another artifact (a calibrated or combined model).
const (
	artifactMagic   = "PRNL"
	artifactVersion = 1
	maxArtifact     = 256 << 20
	maxSections     = 64
	maxNesting      = 4
)

// ErrArtifact is returned by Load for bytes that are no artifact, or a damaged one.
var ErrArtifact = errors.New("not a model artifact")

type section struct {
	name string
	data []byte
}

// header says which reader understands an artifact.
type header struct {
	Kind    string `json:"kind"`
	Learner string `json:"learner"`
}

func encodeArtifact(h header, sections ...section) ([]byte, error) {
	head, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	sections = append([]section{{"header", head}}, sections...)
	var b bytes.Buffer
	b.WriteString(artifactMagic)
	b.Write(binary.LittleEndian.AppendUint16(nil, artifactVersion))
	b.Write(binary.LittleEndian.AppendUint16(nil, uint16(len(sections))))
	for _, s := range sections {
		b.WriteByte(byte(len(s.name)))
		b.WriteString(s.name)
		b.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(s.data))))
		b.Write(binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(s.data)))
		b.Write(s.data)
	}
	if b.Len() > maxArtifact {
		return nil, fmt.Errorf("model of %d bytes is larger than %d", b.Len(), maxArtifact)
	}
	sum := sha256.Sum256(b.Bytes())
	b.Write(sum[:])
	return b.Bytes(), nil
}

// decodeArtifact checks sums and bounds and returns the sections by name; they alias raw.
func decodeArtifact(raw []byte) (header, map[string][]byte, error) {
	var h header
	if len(raw) < len(artifactMagic)+4+sha256.Size || len(raw) > maxArtifact+sha256.Size || string(raw[:4]) != artifactMagic {
		return h, nil, ErrArtifact
	}
	body, sum := raw[:len(raw)-sha256.Size], raw[len(raw)-sha256.Size:]
	if got := sha256.Sum256(body); !bytes.Equal(got[:], sum) {
		return h, nil, fmt.Errorf("%w: its checksum does not fit", ErrArtifact)
	}
	if v := binary.LittleEndian.Uint16(body[4:]); v != artifactVersion {
		return h, nil, fmt.Errorf("%w: format version %d, this program reads %d", ErrArtifact, v, artifactVersion)
	}
	count := int(binary.LittleEndian.Uint16(body[6:]))
	if count > maxSections {
		return h, nil, fmt.Errorf("%w: %d sections", ErrArtifact, count)
	}
	sections := make(map[string][]byte, count)
	rest := body[8:]
	for range count {
		if len(rest) < 1 || len(rest) < 1+int(rest[0])+8 {
			return h, nil, fmt.Errorf("%w: it ends within a section", ErrArtifact)
		}
		name := string(rest[1 : 1+int(rest[0])])
		rest = rest[1+int(rest[0]):]
		size, crc := binary.LittleEndian.Uint32(rest), binary.LittleEndian.Uint32(rest[4:])
		rest = rest[8:]
		if uint64(size) > uint64(len(rest)) || crc32.ChecksumIEEE(rest[:size]) != crc {
			return h, nil, fmt.Errorf("%w: section %q is damaged", ErrArtifact, name)
		}
		sections[name] = rest[:size:size]
		rest = rest[size:]
	}
	if len(rest) != 0 {
		return h, nil, fmt.Errorf("%w: bytes after the last section", ErrArtifact)
	}
	if err := decodeJSON(sections["header"], &h); err != nil || h.Kind == "" {
		return h, nil, fmt.Errorf("%w: its header cannot be read", ErrArtifact)
	}
	return h, sections, nil
}

// decodeJSON refuses unknown fields and trailing bytes, so that a file of a later program is not half understood.
func decodeJSON(raw []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if d.More() {
		return errors.New("more than one JSON document")
	}
	return nil
}

// reader rebuilds a model of one kind from its sections.
type reader func(h header, sections map[string][]byte, depth int) (Model, error)

// readers is filled here and not by init functions, so that the kinds stand in one place.
func readers() map[string]reader {
	return map[string]reader{
		"logit":    readLogit,
		"naive":    readNaive,
		"forest":   readForest,
		"boost":    readBoost,
		"btyd":     readBuyTillDie,
		"twostage": readTwoStage,
		"mean":     readMean,
		"tweedie":  readTweedie,
		"checked":  readChecked,
	}
}

// Load reads an artifact that Save wrote. Hostile bytes give an error, never a crash: every length is bounded, every sum is checked, and
// a registered artifact recomputes its check rows.
func Load(artifact []byte) (Model, error) { return load(artifact, 0) }

func load(artifact []byte, depth int) (Model, error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("%w: nested too deeply", ErrArtifact)
	}
	h, sections, err := decodeArtifact(artifact)
	if err != nil {
		return nil, err
	}
	read, ok := readers()[h.Kind]
	if !ok {
		return nil, fmt.Errorf("%w: kind %q is unknown to this program", ErrArtifact, h.Kind)
	}
	m, err := read(h, sections, depth)
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", h.Learner, err)
	}
	return m, nil
}

// finite reports whether every number is usable.
func finite(lists ...[]float64) bool {
	for _, list := range lists {
		for _, v := range list {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return false
			}
		}
	}
	return true
}
