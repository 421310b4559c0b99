package camera

// Info describes a capture device.
type Info struct {
	Path     string       `json:"path"`
	ByID     string       `json:"by_id,omitempty"`   // the name to use: it stays with the camera
	ByPath   string       `json:"by_path,omitempty"` // stays with the socket that it is plugged into
	Card     string       `json:"card"`
	Driver   string       `json:"driver"`
	BusInfo  string       `json:"bus_info"`
	Formats  []FormatInfo `json:"formats"`
	Controls []Control    `json:"controls,omitempty"`
	Usable   bool         `json:"usable"`
	Reason   string       `json:"reason,omitempty"` // why it isn't usable
	// Identity is what can be pinned of it: all of them together name it as well as can be.
	Identity []string `json:"identity,omitempty"`
	Virtual  string   `json:"virtual,omitempty"` // why it is a virtual camera; "" for a real one
	who      identity
	err      error // what Reason says
}

// FormatInfo is a pixel format that a device offers.
type FormatInfo struct {
	FourCC      string     `json:"fourcc"`
	Description string     `json:"description"`
	Sizes       []SizeInfo `json:"sizes"`
}

// SizeInfo is a frame size of a format, with the rates that the driver names. Of a range of sizes, the usual ones
// in it are listed.
type SizeInfo struct {
	Width  int       `json:"width"`
	Height int       `json:"height"`
	FPS    []float64 `json:"fps"`
}

// best is the name to open the device by.
func (i *Info) best() string {
	if i.ByID != "" {
		return i.ByID
	}
	return i.Path
}

// same tells whether two descriptions are of one camera, also after it was plugged in again.
func (i *Info) same(j *Info) bool {
	if i.ByID != "" || j.ByID != "" {
		return i.ByID == j.ByID
	}
	return i.Card == j.Card && i.Driver == j.Driver && i.BusInfo == j.BusInfo
}

// choose gives the camera for an empty path: known if it is there, with none known the first usable one that the options take, and
// virtual ones, where those are allowed, after all others, because pictures can be put into those.
func choose(infos []Info, known *Info, o *Options) (*Info, error) {
	var pick *Info
	var refused, suspect error
	for k := range infos {
		i := &infos[k]
		switch {
		case known != nil && !i.same(known):
		case !i.Usable:
			if refused == nil {
				refused = i.err
			}
		default:
			if err := i.who.check(o); err != nil {
				if suspect == nil {
					suspect = err
				}
			} else if pick == nil || pick.Virtual != "" && i.Virtual == "" {
				pick = i
			}
		}
	}
	if pick != nil {
		return pick, nil
	}
	if refused != nil {
		return nil, refused
	}
	if suspect != nil && len(o.Identity) == 0 { // with identity it is merely not there yet
		return nil, suspect
	}
	return nil, errNoCamera
}
