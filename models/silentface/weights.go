package silentface

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/nlpodyssey/gopickle/pickle"
	"github.com/nlpodyssey/gopickle/pytorch"
	"github.com/nlpodyssey/gopickle/types"
)

// array is numbers in rows, the last index running fastest.
type array struct {
	shape []int
	data  []float32
}

// weights are the arrays of a net by name, without what training on several cards puts in front.
type weights map[string]array

// How PyTorch's files begin: a pickled number, or a zip's first entry.
const (
	legacyMagic = "\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
	zipMagic    = "PK\x03\x04"
)

// readWeights reads a .pth of PyTorch, and makes nothing of a file but numbers, whatever is in it. The digest is checked before:
// the reader doesn't notice an end that is cut off, and a file that was built to exhaust memory can do that.
func readWeights(data []byte) (w weights, err error) {
	// What doesn't begin so the reader takes for a tar, in which it can look for ever.
	if !bytes.HasPrefix(data, []byte(legacyMagic)) && !bytes.HasPrefix(data, []byte(zipMagic)) {
		return nil, errors.New("not the weights of a net: it doesn't begin as PyTorch's files do")
	}
	// The reader wants a path.
	f, err := os.CreateTemp("", "livenessd-*.pth")
	if err != nil {
		return nil, fmt.Errorf("keep the weights: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return nil, fmt.Errorf("keep the weights: %w", err)
	}
	defer func() {
		if r := recover(); r != nil { // the reader does that for what it doesn't know
			w, err = nil, fmt.Errorf("not the weights of a net: %v", r)
		}
	}()
	read, err := pytorch.LoadWithUnpickler(f.Name(), func(r io.Reader) pickle.Unpickler {
		u := pickle.NewUnpickler(r)
		u.FindClass = func(module, name string) (any, error) {
			return nil, fmt.Errorf("it asks for %s.%s, which weights don't need", module, name)
		}
		return u
	})
	if err != nil {
		return nil, fmt.Errorf("not the weights of a net: %w", err)
	}
	dict, ok := read.(*types.OrderedDict)
	if !ok {
		return nil, fmt.Errorf("not the weights of a net: it is a %T", read)
	}
	w = weights{}
	for key, entry := range dict.Map {
		name, ok := key.(string)
		if !ok {
			return nil, fmt.Errorf("not the weights of a net: a name is a %T", key)
		}
		t, ok := entry.Value.(*pytorch.Tensor)
		if !ok {
			return nil, fmt.Errorf("not the weights of a net: %s is a %T", name, entry.Value)
		}
		storage, ok := t.Source.(*pytorch.FloatStorage)
		if !ok {
			continue // counters of training
		}
		a, err := arrayOf(storage.Data, t.StorageOffset, t.Size, t.Stride)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		w[strings.TrimPrefix(name, "module.")] = a
	}
	return w, nil
}

// maxArray bounds the numbers of an array; the largest of these nets has 65,536.
const maxArray = 1 << 22

// arrayOf copies an array out of the numbers that several may share.
func arrayOf(from []float32, offset int, size, stride []int) (array, error) {
	if len(size) != len(stride) || len(size) > 8 {
		return array{}, fmt.Errorf("%d sizes and %d strides", len(size), len(stride))
	}
	total, last := 1, offset
	for i, n := range size {
		if n < 1 || n > maxArray || total > maxArray/n || stride[i] < 0 || stride[i] > maxArray {
			return array{}, fmt.Errorf("size %v with strides %v", size, stride)
		}
		total *= n
		last += (n - 1) * stride[i]
	}
	if offset < 0 || last < offset || last >= len(from) {
		return array{}, fmt.Errorf("size %v with strides %v from %d on: beyond the %d numbers that there are",
			size, stride, offset, len(from))
	}
	a := array{size, make([]float32, total)}
	index := make([]int, len(size))
	for i := range a.data {
		at := offset
		for d := range index {
			at += index[d] * stride[d]
		}
		a.data[i] = from[at]
		for d := len(index) - 1; d >= 0; d-- {
			if index[d]++; index[d] < size[d] {
				break
			}
			index[d] = 0
		}
	}
	return a, nil
}
