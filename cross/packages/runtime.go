package main

import (
	"embed"
	"fmt"
	"strings"
)

//go:embed licences
var licences embed.FS

// What the TensorFlow Lite library is called in bills of materials; cross/tflite fetches this version.
const (
	libraryName    = "tensorflow-lite"
	libraryVersion = "2.9.0"
	libraryRef     = "pkg:generic/" + libraryName + "@" + libraryVersion
)

// tensorflow is TensorFlow Lite's library and what its build (2.9.0) put into it, as far as its symbols and its strings show. Their authors
// ask that their notice goes with it; licences has the words of those that Debian doesn't have in common.
func tensorflow() ([]component, error) {
	list := []struct{ name, version, spdx, holders, text, homepage string }{
		{libraryName, libraryVersion, "Apache-2.0", "2015-2022 The TensorFlow Authors", "", "https://www.tensorflow.org/lite"},
		{"XNNPACK", "", "BSD-3-Clause", "Facebook, Inc. and its affiliates|2019 Google LLC", "xnnpack", "https://github.com/google/XNNPACK"},
		{"pthreadpool", "", "BSD-2-Clause", "2017 Facebook Inc.|2015-2017 Georgia Institute of Technology", "bsd-2", "https://github.com/Maratyszcza/pthreadpool"},
		{"cpuinfo", "", "BSD-2-Clause", "2017 Facebook Inc.|2012-2017 Georgia Institute of Technology|2010-2012 Marat Dukhan", "bsd-2", "https://github.com/pytorch/cpuinfo"},
		{"FP16", "", "MIT", "2017 Facebook Inc.|2017 Georgia Institute of Technology", "mit", "https://github.com/Maratyszcza/FP16"},
		{"FXdiv", "", "MIT", "2016 Marat Dukhan", "mit", "https://github.com/Maratyszcza/FXdiv"},
		{"farmhash", "", "MIT", "2014 Google, Inc.", "mit", "https://github.com/google/farmhash"},
		{"eigen", "", "MPL-2.0", "the authors of Eigen", "", "https://eigen.tuxfamily.org/"},
		{"fft2d", "", "LicenseRef-fft2d", "1997,2001 Takuya OOURA", "fft2d", "https://www.kurims.kyoto-u.ac.jp/~ooura/fft.html"},
		{"ruy", "", "Apache-2.0", "Google LLC", "", "https://github.com/google/ruy"},
		{"gemmlowp", "", "Apache-2.0", "Google Inc.", "", "https://github.com/google/gemmlowp"},
		{"flatbuffers", "", "Apache-2.0", "Google Inc.", "", "https://github.com/google/flatbuffers"},
	}
	var out []component
	for _, l := range list {
		c := component{Name: l.name, Version: l.version, Licence: l.spdx, Inside: libraryPath, Homepage: l.homepage}
		for h := range strings.SplitSeq(l.holders, "|") {
			c.Holders = append(c.Holders, "Copyright (c) "+h)
		}
		if l.text != "" {
			data, err := licences.ReadFile("licences/" + l.text)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", l.name, err)
			}
			c.Text = strings.Trim(string(data), "\n")
		}
		out = append(out, c)
	}
	return out, nil
}
