package camera

import (
	"errors"
	"slices"
	"testing"
)

func TestRanksModes(t *testing.T) {
	at := func(w, h int, fps ...float64) SizeInfo { return SizeInfo{w, h, fps} }
	offer := func(fourCC string, sizes ...SizeInfo) FormatInfo { return FormatInfo{FourCC: fourCC, Sizes: sizes} }
	usual := []FormatInfo{
		offer("YUYV", at(640, 480, 30, 15), at(1280, 720, 10, 5), at(320, 240, 30)),
		offer("MJPG", at(640, 480, 30), at(1280, 720, 30), at(1920, 1080, 30)),
		offer("H264", at(640, 480, 30)),
	}
	for _, c := range []struct {
		name   string
		offers []FormatInfo
		o      Options
		want   mode
	}{
		{"wanted size in both", usual, Options{}, mode{"MJPG", 640, 480, 30}},
		{"lowest rate that is enough", []FormatInfo{offer("MJPG", at(640, 480, 60, 30, 20, 15, 5))}, Options{}, mode{"MJPG", 640, 480, 15}},
		{"highest rate where none is enough", []FormatInfo{offer("YUYV", at(640, 480, 5, 10, 7.5))}, Options{}, mode{"YUYV", 640, 480, 10}},
		{"rate as drivers round it", []FormatInfo{offer("YUYV", at(640, 480, 30, 14.985, 5))}, Options{}, mode{"YUYV", 640, 480, 14.985}},
		{"format that is asked for", usual, Options{Format: "YUYV"}, mode{"YUYV", 640, 480, 15}},
		{"packed bytes too slow at that size", usual, Options{Width: 1280, Height: 720}, mode{"MJPG", 1280, 720, 30}},
		{"YUYV alone", usual[:1], Options{}, mode{"YUYV", 640, 480, 15}},
		{"size rather than format", []FormatInfo{offer("MJPG", at(1280, 720, 30)), offer("YUYV", at(640, 480, 30))}, Options{}, mode{"YUYV", 640, 480, 30}},
		{"larger rather than smaller", []FormatInfo{offer("MJPG", at(320, 240, 30), at(800, 600, 30))}, Options{}, mode{"MJPG", 800, 600, 30}},
		{"nearest of the smaller", []FormatInfo{offer("MJPG", at(160, 120, 30), at(320, 240, 30))}, Options{}, mode{"MJPG", 320, 240, 30}},
		{"somewhat larger rather than very slow", []FormatInfo{offer("YUYV", at(640, 480, 2), at(800, 600, 20))}, Options{}, mode{"YUYV", 800, 600, 20}},
		{"colour rather than rate", []FormatInfo{offer("GREY", at(640, 480, 30)), offer("YUYV", at(640, 480, 10))}, Options{}, mode{"YUYV", 640, 480, 10}},
		{"infrared camera", []FormatInfo{offer("GREY", at(640, 360, 30, 15))}, Options{}, mode{"GREY", 640, 360, 15}},
		{"as large as wanted, whatever the format", []FormatInfo{offer("NV12", at(800, 600, 15)), offer("BGR3", at(640, 480, 15))}, Options{}, mode{"BGR3", 640, 480, 15}},
		{"what needs no conversion", []FormatInfo{offer("RGB3", at(640, 480, 30)), offer("YV12", at(640, 480, 30))}, Options{}, mode{"YV12", 640, 480, 30}},
		{"infrared camera of many bits", []FormatInfo{offer("Y10 ", at(640, 480, 30)), offer("Y16 ", at(640, 480, 30))}, Options{}, mode{"Y16 ", 640, 480, 30}},
		{"infrared camera, as it was asked for", []FormatInfo{offer("GREY", at(640, 480, 30)), offer("Y10 ", at(640, 480, 30))}, Options{Format: "Y10"}, mode{"Y10 ", 640, 480, 30}},
		{"JPEG by its other name", []FormatInfo{offer("JPEG", at(640, 480, 30))}, Options{Format: "MJPG"}, mode{"JPEG", 640, 480, 30}},
		{"driver that names no sizes", []FormatInfo{offer("NV12")}, Options{}, mode{"NV12", 640, 480, 0}},
		{"driver that names no rates", []FormatInfo{offer("NV12", at(640, 480))}, Options{}, mode{"NV12", 640, 480, 0}},
	} {
		if err := c.o.check(); err != nil {
			t.Fatal(err)
		}
		got := rank(c.offers, &c.o)
		if len(got) == 0 || got[0] != c.want {
			t.Errorf("%s: got %v, want %v first", c.name, got, c.want)
		}
	}
}

func TestNothingToRank(t *testing.T) {
	o := Options{Format: "YUYV"}
	for _, offers := range [][]FormatInfo{nil, {{FourCC: "H264"}}, {{FourCC: "MJPG"}}} {
		if got := rank(offers, &o); len(got) != 0 {
			t.Errorf("%v gives %v", offers, got)
		}
	}
}

func TestRangesOfSizesAreListedByTheUsualOnes(t *testing.T) {
	for _, c := range []struct {
		name string
		r    sizeRange
		want [][2]int
	}{
		{"continuous", sizeRange{300, 1, 1, 200, 1, 1}, nil},
		{"any size", sizeRange{2, 700, 1, 1, 500, 1},
			[][2]int{{2, 1}, {160, 120}, {176, 144}, {320, 240}, {352, 288}, {640, 360}, {640, 480}, {700, 500}}},
		{"in steps", sizeRange{160, 640, 160, 120, 480, 120}, [][2]int{{160, 120}, {320, 240}, {640, 360}, {640, 480}}},
		{"one", sizeRange{48, 48, 0, 32, 32, 0}, [][2]int{{48, 32}}},
		{"zeros", sizeRange{}, nil},
	} {
		if got := c.r.usual(); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestChoosesACameraForAnEmptyPath(t *testing.T) {
	loop := Info{Path: "/dev/video0", Card: "Dummy", Driver: "v4l2 loopback", BusInfo: "platform:0", Usable: true, Virtual: "made up", who: identity{virtual: "made up"}}
	usb := Info{Path: "/dev/video2", ByID: "/dev/v4l/by-id/usb-a", Card: "A", Usable: true}
	moved := Info{Path: "/dev/video4", ByID: "/dev/v4l/by-id/usb-a", Card: "A", Usable: true}
	other := Info{Path: "/dev/video6", ByID: "/dev/v4l/by-id/usb-b", Card: "B", Usable: true}
	plain := Info{Path: "/dev/video8", Card: "C", BusInfo: "usb-1", Usable: true}
	known := Info{Path: "/dev/video3", Card: "D", Usable: true, who: identity{vendor: "046d", product: "082d"}}
	denied := Info{Path: "/dev/video9", err: errShort}
	for _, c := range []struct {
		name  string
		infos []Info
		known *Info
		want  string
		err   error
		o     Options
	}{
		{"first", []Info{usb, other}, nil, "/dev/video2", nil, Options{}},
		{"virtual ones last", []Info{loop, usb}, nil, "/dev/video2", nil, Options{AllowVirtual: true}},
		{"virtual one alone", []Info{loop}, nil, "", errVirtual, Options{}},
		{"virtual one alone, which may be", []Info{loop}, nil, "/dev/video0", nil, Options{AllowVirtual: true}},
		{"the one that is named", []Info{usb, other, known}, nil, "/dev/video3", nil, Options{Identity: []string{"usb:046d:082d"}}},
		{"the one that is named isn't there", []Info{usb, other}, nil, "", errNoCamera, Options{Identity: []string{"usb:046d:082d"}}},
		{"same one at another node", []Info{other, moved}, &usb, "/dev/video4", nil, Options{}},
		{"another one in its place", []Info{other}, &usb, "", errNoCamera, Options{}},
		{"same one without serial number", []Info{other, plain}, &plain, "/dev/video8", nil, Options{}},
		{"none", nil, nil, "", errNoCamera, Options{}},
		{"refused one alone", []Info{denied}, nil, "", errShort, Options{}},
		{"refused one and another", []Info{denied, usb}, nil, "/dev/video2", nil, Options{}},
	} {
		got, err := choose(c.infos, c.known, &c.o)
		if c.err != nil && !errors.Is(err, c.err) || c.err == nil && (err != nil || got.Path != c.want) {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
}
