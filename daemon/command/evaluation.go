package command

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/livenessd/livenessd/daemon/decision"
	"github.com/livenessd/livenessd/daemon/pad"
)

// evaluation is what evaluate says, as --json prints it. Rates are shares of 1.
type evaluation struct {
	Schema int `json:"schema"`
	Model  struct {
		Name    string `json:"name"`
		Version string `json:"version"`
		SHA256  string `json:"sha256"`
	} `json:"model"`
	Detector   string              `json:"detector"`
	Delegate   string              `json:"delegate"`
	FaceFrom   string              `json:"face_from"` // detector or picture
	Threshold  evaluationThreshold `json:"threshold"`
	Folders    []folderResult      `json:"folders"`
	Mean       *meanResult         `json:"mean,omitempty"`       // of several folders
	Comparison []scorerResult      `json:"comparison,omitempty"` // of several folders or with --baselines
	Plot       string              `json:"plot,omitempty"`
}

type evaluationThreshold struct {
	LiveAt  float64 `json:"live_at"`
	SpoofAt float64 `json:"spoof_at"` // at most live_at; what reaches both is live
	From    string  `json:"from"`     // model, configuration or folder
	// Where it is a folder's:
	Folder string     `json:"folder,omitempty"`
	Rule   string     `json:"rule,omitempty"`
	There  *pad.Point `json:"there,omitempty"` // what the threshold is worth on that folder
}

// folderResult is one folder at the threshold.
type folderResult struct {
	Folder     string         `json:"folder"`
	Name       string         `json:"name"`
	BonaFide   bonaFideResult `json:"bona_fide"`
	Attacks    []attackResult `json:"attacks"`
	Worst      string         `json:"worst_species"` // whose APCER is the folder's
	EER        *eerResult     `json:"eer"`           // null where one side has no scores
	Ignored    int            `json:"ignored"`       // files that are neither pictures nor clips
	Unreadable []unreadable   `json:"unreadable"`
	point      *pad.Point     // at the threshold
}

// tally is what became of the presentations of one kind.
type tally struct {
	Presentations int                   `json:"presentations"`
	Live          int                   `json:"live"`
	Undecided     int                   `json:"undecided"`
	Spoof         int                   `json:"spoof"`
	Silent        map[decision.Code]int `json:"non_responses"`
}

type bonaFideResult struct {
	tally
	BPCER pad.Rate `json:"bpcer"`
	BPNRR pad.Rate `json:"bpnrr"`
}

type attackResult struct {
	Species string `json:"species"`
	tally
	APCER pad.Rate   `json:"apcer"`
	APNRR pad.Rate   `json:"apnrr"`
	EER   *eerResult `json:"eer"`
}

type eerResult struct {
	Rate float64 `json:"rate"`
	pad.Point
}

// meanResult weighs folders alike, whatever their size.
type meanResult struct {
	Folders int     `json:"folders"`
	Without int     `json:"without"` // folders where one side has no scores
	APCER   float64 `json:"apcer"`
	BPCER   float64 `json:"bpcer"`
	Half    float64 `json:"half_total_error"`
	EER     float64 `json:"eer"`
}

// scorerResult is what a scorer achieves with thresholds that are chosen for it.
type scorerResult struct {
	Scorer string `json:"scorer"`
	// Flattered is at the one threshold that is best on the very folders that are measured.
	Flattered pad.Rule       `json:"best_here"`
	Here      []scorerFolder `json:"here"`
	HereMean  scorerMean     `json:"here_mean"`
	// LeftOut is each folder at the threshold that is best on all the others.
	LeftOut     []scorerFolder `json:"leave_one_out,omitempty"`
	LeftOutMean *scorerMean    `json:"leave_one_out_mean,omitempty"`
}

type scorerFolder struct {
	Name string `json:"name"`
	pad.Rule
	APCER float64 `json:"apcer"`
	BPCER float64 `json:"bpcer"`
	Half  float64 `json:"half_total_error"`
}

type scorerMean struct {
	APCER float64 `json:"apcer"`
	BPCER float64 `json:"bpcer"`
	Half  float64 `json:"half_total_error"`
}

// fill works out everything from the scores.
func (r *evaluation) fill(all []*measured, names []string, baselines bool) error {
	for i, m := range all {
		f := r.folder(m)
		f.Name = names[i]
		r.Folders = append(r.Folders, f)
	}
	var sided []int
	for i, m := range all {
		if m.samples[net].TwoSided() {
			sided = append(sided, i)
		}
	}
	if len(all) > 1 && len(sided) > 0 {
		var points []pad.Point
		mean := meanResult{Folders: len(sided), Without: len(all) - len(sided)}
		for _, i := range sided {
			points = append(points, *r.Folders[i].point)
			mean.EER += r.Folders[i].EER.Rate / float64(len(sided))
		}
		p, err := pad.Mean(points)
		if err != nil {
			return fmt.Errorf("evaluate: %w", err)
		}
		mean.APCER, mean.BPCER, mean.Half = p.APCER, p.BPCER, p.Half()
		r.Mean = &mean
	}
	if len(sided) == 0 || len(all) == 1 && !baselines {
		return nil
	}
	scorers := []string{net}
	if baselines {
		scorers = append(scorers, sharpness, brightness, faceSize)
	}
	for _, name := range scorers {
		var samples []*pad.Sample
		var of []string
		for _, i := range sided {
			samples, of = append(samples, all[i].samples[name]), append(of, names[i])
		}
		c, err := compare(name, samples, of)
		if err != nil {
			return fmt.Errorf("evaluate: %s: %w", name, err)
		}
		r.Comparison = append(r.Comparison, c)
	}
	return nil
}

// folder is a folder's part.
func (r *evaluation) folder(m *measured) folderResult {
	t := r.Threshold
	s := m.samples[net]
	f := folderResult{Folder: m.folder.path, Ignored: m.folder.ignored, Worst: s.Worst(t.LiveAt), EER: equalErrors(s),
		Unreadable: append([]unreadable{}, m.unread...)} // an empty array rather than null
	people := m.classes[""]
	f.BonaFide = bonaFideResult{tallyOf(people, t), s.BPCER(t.LiveAt), people.nonResponses()}
	for _, species := range slices.Sorted(maps.Keys(m.classes)) {
		if c := m.classes[species]; species != "" {
			f.Attacks = append(f.Attacks, attackResult{species, tallyOf(c, t), s.APCER(species, t.LiveAt), c.nonResponses(),
				equalErrors(s.Only(species))})
		}
	}
	if p, err := s.At(t.LiveAt); err == nil {
		f.point = &p
	}
	return f
}

// equalErrors is null where there is nothing to tell apart.
func equalErrors(s *pad.Sample) *eerResult {
	p, err := s.EER()
	if err != nil {
		return nil
	}
	return &eerResult{p.Half(), p}
}

func tallyOf(c *class, t evaluationThreshold) tally {
	n := tally{Presentations: c.presentations, Silent: c.silent}
	for _, v := range c.scores[net] {
		switch {
		case v >= t.LiveAt:
			n.Live++
		case v <= t.SpoofAt:
			n.Spoof++
		default:
			n.Undecided++
		}
	}
	return n
}

func (c *class) nonResponses() pad.Rate {
	n := 0
	for _, v := range c.silent {
		n += v
	}
	return pad.NewRate(n, c.presentations)
}

// compare tries a scorer with thresholds that are chosen for it. Only of the net it is said which of its scores are alive.
func compare(name string, samples []*pad.Sample, of []string) (scorerResult, error) {
	either := name != net
	c := scorerResult{Scorer: name}
	best, err := pad.Best(samples, either)
	if err != nil {
		return c, err
	}
	c.Flattered = best
	if c.Here, c.HereMean, err = applied(slices.Repeat([]pad.Rule{best}, len(samples)), samples, of); err != nil || len(samples) < 2 {
		return c, err
	}
	rules, err := pad.LeaveOneOut(samples, either)
	if err != nil {
		return c, err
	}
	var mean scorerMean
	c.LeftOut, mean, err = applied(rules, samples, of)
	c.LeftOutMean = &mean
	return c, err
}

// applied is what each rule is worth on its sample, and the mean.
func applied(rules []pad.Rule, samples []*pad.Sample, of []string) (each []scorerFolder, mean scorerMean, err error) {
	var points []pad.Point
	for i, rule := range rules {
		p, err := rule.Apply(samples[i])
		if err != nil {
			return nil, mean, err
		}
		points = append(points, p)
		each = append(each, scorerFolder{of[i], rule, p.APCER, p.BPCER, p.Half()})
	}
	p, err := pad.Mean(points)
	return each, scorerMean{p.APCER, p.BPCER, p.Half()}, err
}

func (a *app) printEvaluation(r *evaluation) error {
	if a.json {
		return a.printJSON(r)
	}
	var b strings.Builder
	r.text(&b)
	return a.printTables(b.String())
}

// printTables writes text without the spaces at its lines' ends: tables fill those up to what the longest line needs.
func (a *app) printTables(text string) error {
	for line := range strings.Lines(text) {
		if _, err := io.WriteString(a.Stdout, strings.TrimRight(line, " \n")+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// text is the readable form. Figures of several folders have one line each; an average never stands without both its errors.
func (r *evaluation) text(b *strings.Builder) {
	from := "the detector's boxes"
	if r.FaceFrom == "picture" {
		from = "the whole picture taken for the face's box"
	}
	fmt.Fprintf(b, "model %s %s, sha256 %.12s…, delegate %s; %s\n", r.Model.Name, r.Model.Version, r.Model.SHA256, r.Delegate, from)
	switch t := r.Threshold; t.From {
	case "folder":
		fmt.Fprintf(b, "accepted from %s: %s of %s, where APCER is %s and BPCER %s; spoof up to %s\n",
			number(t.LiveAt), t.Rule, t.Folder, share(t.There.APCER), share(t.There.BPCER), number(t.SpoofAt))
	default:
		fmt.Fprintf(b, "accepted (live) from %s, spoof up to %s, as the %s has it\n", number(t.LiveAt), number(t.SpoofAt), t.From)
	}
	for _, f := range r.Folders {
		f.text(b)
	}
	if m := r.Mean; m != nil {
		fmt.Fprintf(b, "\nmean of %d folders, each as heavy as the others: APCER %s, BPCER %s, half their sum %s; EER %s\n",
			m.Folders, share(m.APCER), share(m.BPCER), share(m.Half), share(m.EER))
		if m.Without > 0 {
			fmt.Fprintf(b, "without %d folder(s) where people or attacks got no answer at all\n", m.Without)
		}
	}
	if len(r.Comparison) > 0 {
		b.WriteString("\nat the one threshold that is best on these very pictures, which flatters every scorer\n")
		r.compared(b, func(c scorerResult) ([]scorerFolder, *scorerMean) { return c.Here, &c.HereMean })
		if r.Comparison[0].LeftOutMean != nil {
			b.WriteString("\nleave-one-out: each folder at the threshold that is best on all the others\n")
			r.compared(b, func(c scorerResult) ([]scorerFolder, *scorerMean) { return c.LeftOut, c.LeftOutMean })
		}
	}
	if r.Plot != "" {
		fmt.Fprintf(b, "\nplot: %s\n", r.Plot)
	}
}

func (f *folderResult) text(b *strings.Builder) {
	fmt.Fprintf(b, "\n%s\n", printable(f.Folder))
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\tpresented\tlive\tundecided\tspoof\terrors among answers [95 %]\tno answer [95 %]\tEER")
	row := func(name string, n tally, kind string, wrong, silent pad.Rate, eer *eerResult) {
		fmt.Fprintf(w, "  %s\t%d\t%d\t%d\t%d\t", name, n.Presentations, n.Live, n.Undecided, n.Spoof)
		fmt.Fprintf(w, "%s %s\t%s\t", kind, rate(wrong), rate(silent))
		if eer != nil {
			fmt.Fprintf(w, "%s at %s", share(eer.Rate), number(eer.Threshold))
		}
		fmt.Fprintln(w)
	}
	row("bona fide", f.BonaFide.tally, "BPCER", f.BonaFide.BPCER, f.BonaFide.BPNRR, nil)
	for _, a := range f.Attacks {
		row("attack "+printable(a.Species), a.tally, "APCER", a.APCER, a.APNRR, a.EER)
	}
	w.Flush()
	if len(f.Attacks) > 1 && f.EER != nil {
		fmt.Fprintf(b, "  worst species here: %s; EER over the worst %s at %s\n", printable(f.Worst), share(f.EER.Rate),
			number(f.EER.Threshold))
	}
	silent := func(name string, codes map[decision.Code]int) {
		if len(codes) == 0 {
			return
		}
		var parts []string
		for _, c := range slices.Sorted(maps.Keys(codes)) {
			parts = append(parts, fmt.Sprintf("%d %s", codes[c], c))
		}
		fmt.Fprintf(b, "  no answer, %s: %s\n", name, strings.Join(parts, ", "))
	}
	silent("bona fide", f.BonaFide.Silent)
	for _, a := range f.Attacks {
		silent("attack "+printable(a.Species), a.Silent)
	}
	if f.Ignored > 0 {
		fmt.Fprintf(b, "  %d other file(s) there are neither pictures nor clips\n", f.Ignored)
	}
	if len(f.Unreadable) > 0 {
		fmt.Fprintf(b, "  %d file(s) could not be read and don't count\n", len(f.Unreadable))
	}
}

// compared is a table of scorers.
func (r *evaluation) compared(b *strings.Builder, what func(scorerResult) ([]scorerFolder, *scorerMean)) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\tfolder\taccepted\tAPCER\tBPCER\thalf their sum")
	for _, c := range r.Comparison {
		each, mean := what(c)
		name := c.Scorer
		for _, f := range each {
			side := "from"
			if f.Below {
				side = "up to"
			}
			fmt.Fprintf(w, "  %s\t%s\t%s %s\t", name, printable(f.Name), side, number(f.Threshold))
			fmt.Fprintf(w, "%s\t%s\t%s\n", share(f.APCER), share(f.BPCER), share(f.Half))
			name = ""
		}
		if len(each) > 1 {
			fmt.Fprintf(w, "  \tmean\t\t%s\t%s\t%s\n", share(mean.APCER), share(mean.BPCER), share(mean.Half))
		}
	}
	w.Flush()
}

func share(v float64) string { return strconv.FormatFloat(100*v, 'f', 1, 64) + " %" }

func number(v float64) string { return strconv.FormatFloat(v, 'g', 5, 64) }

func rate(r pad.Rate) string {
	if r.Share == nil {
		return "unknown (of 0)"
	}
	return fmt.Sprintf("%s (%d of %d) [%.1f, %.1f]", share(*r.Share), r.Errors, r.Of, 100*r.Low, 100*r.High)
}

// printable keeps a folder's name from writing to the terminal what it likes, and from being two columns.
func printable(s string) string {
	if q := strconv.Quote(s); q != `"`+s+`"` {
		return q
	}
	return s
}
