package mqtt

import (
	"bytes"
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden documents anew")

// decidedAt is when all verdicts of the tests were decided.
func decidedAt() time.Time { return time.Date(2026, 1, 2, 3, 4, 6, 90_000_000, time.UTC) }

func ptr[T any](v T) *T { return &v }

// liveVerdict is as complete as a verdict can be.
func liveVerdict() Verdict {
	return Verdict{
		Schema: 1, ID: "01978c3a-5b6c-7d8e-9f01-23456789abcd", Device: "door-7", Camera: "front",
		Boot: "01978c3a-0000-7000-8000-000000000001", Seq: 1234, Verdict: Live, Score: ptr(0.931),
		LiveAt: 0.8, SpoofAt: 0.35, Action: Allow, Frames: 9, Face: &Face{412, 180, 236, 301},
		CapturedAt: Time(decidedAt().Add(-412 * time.Millisecond)), DecidedAt: Time(decidedAt()), LatencyMS: 412,
		ExpiresAt: Time(decidedAt().Add(5 * time.Second)), ClockSynced: true,
		Model:    ModelRef{Name: "liveness", Version: "1.0.0", SHA256: strings.Repeat("0123456789abcdef", 4)},
		Delegate: "xnnpack",
	}
}

func spoofVerdict() Verdict {
	v := liveVerdict()
	v.Verdict, v.Score, v.Attack, v.Action = Spoof, ptr(0.031), "replay", Deny
	v.SetCode(CodePADAttack)
	v.Session = &Session{ID: "01978d00-0000-7000-8000-000000000002", Application: "staff-door", Purpose: Authentication, Subject: "u1",
		Nonce: "n-123"}
	return v
}

func undecidedVerdict() Verdict {
	v := liveVerdict()
	v.Verdict, v.Score, v.Action, v.Frames, v.Face, v.CapturedAt, v.LatencyMS = Undecided, nil, Deny, 0, nil, Time{}, 0
	v.SetCode(CodeCameraLost)
	return v
}

func offVerdict() Verdict {
	v := undecidedVerdict()
	v.SetCode("")
	v.Action, v.Liveness = Allow, LivenessOff
	v.Session = &Session{ID: "01978d00-0000-7000-8000-000000000003", Application: "canteen", Purpose: Enrollment}
	return v
}

func lockedVerdict() Verdict {
	v := undecidedVerdict()
	v.SetCode(CodeLockedOut)
	v.RetryAfterMS = 299_500
	v.Session = &Session{ID: "01978d00-0000-7000-8000-000000000004", Application: "staff-door", Purpose: Authentication, Subject: "u1"}
	return v
}

func verdicts() map[string]Verdict {
	return map[string]Verdict{"locked": lockedVerdict(), "live": liveVerdict(), "spoof": spoofVerdict(), "undecided": undecidedVerdict(), "off": offVerdict()}
}

func TestVerdictsAreTheGoldenDocuments(t *testing.T) {
	for name, v := range verdicts() {
		if err := v.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		got, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", "verdict", name+".json")
		if *update {
			if err := os.WriteFile(path, append(got, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, bytes.TrimSuffix(want, []byte("\n"))) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
		back, err := ParseVerdict(want)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(back, v) {
			t.Errorf("%s: read back as\n%+v, want\n%+v", name, back, v)
		}
	}
}

// inconsistent are verdicts that must neither be published nor be acted on.
func inconsistent() map[string]Verdict {
	of := func(v Verdict, change func(v *Verdict)) Verdict {
		change(&v)
		return v
	}
	live, spoof, undecided := liveVerdict, spoofVerdict, undecidedVerdict
	return map[string]Verdict{
		"live with a code":                    of(live(), func(v *Verdict) { v.SetCode(CodeBlurred) }),
		"live with PAD_ATTACK":                of(live(), func(v *Verdict) { v.SetCode(CodePADAttack) }),
		"live with an attack":                 of(live(), func(v *Verdict) { v.Attack = "print" }),
		"live without a score":                of(live(), func(v *Verdict) { v.Score = nil }),
		"live below its threshold":            of(live(), func(v *Verdict) { v.Score = ptr(0.7999) }),
		"live with NaN":                       of(live(), func(v *Verdict) { v.Score = ptr(math.NaN()) }),
		"live with a score above 1":           of(live(), func(v *Verdict) { v.Score = ptr(1.01) }),
		"live without frames":                 of(live(), func(v *Verdict) { v.Frames = 0 }),
		"live without a face":                 of(live(), func(v *Verdict) { v.Face = nil }),
		"live without a time of capture":      of(live(), func(v *Verdict) { v.CapturedAt = Time{} }),
		"live without a model":                of(live(), func(v *Verdict) { v.Model.SHA256 = "" }),
		"live with liveness off":              of(live(), func(v *Verdict) { v.Liveness = LivenessOff }),
		"live with thresholds of NaN":         of(live(), func(v *Verdict) { v.LiveAt = math.NaN() }),
		"live with thresholds the wrong way":  of(live(), func(v *Verdict) { v.SpoofAt = 0.9 }),
		"spoof without a code":                of(spoof(), func(v *Verdict) { v.SetCode("") }),
		"spoof with another code":             of(spoof(), func(v *Verdict) { v.SetCode(CodeTooDark) }),
		"spoof allowed":                       of(spoof(), func(v *Verdict) { v.Action = Allow }),
		"spoof with the score of a live one":  of(spoof(), func(v *Verdict) { v.Score = ptr(0.9) }),
		"spoof without a score":               of(spoof(), func(v *Verdict) { v.Score = nil }),
		"undecided without a code":            of(undecided(), func(v *Verdict) { v.SetCode("") }),
		"undecided with PAD_ATTACK":           of(undecided(), func(v *Verdict) { v.SetCode(CodePADAttack) }),
		"undecided and allowed":               of(undecided(), func(v *Verdict) { v.Action = Allow }),
		"off with a code":                     of(offVerdict(), func(v *Verdict) { v.SetCode(CodeTimeout) }),
		"another word for off":                of(offVerdict(), func(v *Verdict) { v.Liveness = "of" }),
		"live with a time to wait":            of(live(), func(v *Verdict) { v.RetryAfterMS = 1 }),
		"off with a time to wait":             of(offVerdict(), func(v *Verdict) { v.RetryAfterMS = 1 }),
		"undecided with a time to wait":       of(undecided(), func(v *Verdict) { v.RetryAfterMS = 1 }),
		"a time to wait that was":             of(spoof(), func(v *Verdict) { v.RetryAfterMS = -1 }),
		"a session whose id is no level":      of(spoof(), func(v *Verdict) { v.Session.ID = "a/b" }),
		"no verdict":                          of(undecided(), func(v *Verdict) { v.Verdict = "" }),
		"another verdict":                     of(live(), func(v *Verdict) { v.Verdict = "LIVE" }),
		"no action":                           of(live(), func(v *Verdict) { v.Action = "" }),
		"code without a number":               of(spoof(), func(v *Verdict) { v.CodeNumber = nil }),
		"number without a code":               of(spoof(), func(v *Verdict) { v.Code = nil }),
		"code with another's number":          of(spoof(), func(v *Verdict) { v.CodeNumber = ptr(4) }),
		"empty code":                          of(undecided(), func(v *Verdict) { v.Code, v.CodeNumber = ptr(Code("")), ptr(0) }),
		"another schema":                      of(live(), func(v *Verdict) { v.Schema = 2 }),
		"no id":                               of(live(), func(v *Verdict) { v.ID = "" }),
		"id in another notation":              of(live(), func(v *Verdict) { v.ID = "{" + v.ID + "}" }),
		"no device":                           of(live(), func(v *Verdict) { v.Device = "" }),
		"camera that is no level of a topic":  of(live(), func(v *Verdict) { v.Camera = "a/b" }),
		"camera that is a wildcard":           of(live(), func(v *Verdict) { v.Camera = "#" }),
		"no boot":                             of(live(), func(v *Verdict) { v.Boot = "" }),
		"no seq":                              of(live(), func(v *Verdict) { v.Seq = 0 }),
		"no time of decision":                 of(live(), func(v *Verdict) { v.DecidedAt = Time{} }),
		"no time of expiry":                   of(live(), func(v *Verdict) { v.ExpiresAt = Time{} }),
		"expired before it was decided":       of(live(), func(v *Verdict) { v.ExpiresAt = v.CapturedAt }),
		"negative frames":                     of(undecided(), func(v *Verdict) { v.Frames = -1 }),
		"negative latency":                    of(live(), func(v *Verdict) { v.LatencyMS = -1 }),
		"face without width":                  of(live(), func(v *Verdict) { v.Face = &Face{1, 2, 0, 4} }),
		"session with another purpose":        of(spoof(), func(v *Verdict) { v.Session = &Session{ID: "1", Application: "a", Purpose: "fun"} }),
		"session without an id":               of(spoof(), func(v *Verdict) { v.Session = &Session{Application: "a", Purpose: Enrollment} }),
		"session with a subject without end":  of(spoof(), func(v *Verdict) { v.Session.Subject = strings.Repeat("x", 1025) }),
		"a delegate that isn't UTF-8":         of(live(), func(v *Verdict) { v.Delegate = "\xff" }),
		"a device name without end":           of(live(), func(v *Verdict) { v.Device = strings.Repeat("x", 129) }),
		"a model digest of another algorithm": of(live(), func(v *Verdict) { v.Model.SHA256 = strings.Repeat("0", 40) }),
	}
}

func TestInconsistentVerdictsAreRefused(t *testing.T) {
	for name, v := range inconsistent() {
		if v.Check() == nil {
			t.Errorf("%s: passed", name)
		}
		b, err := json.Marshal(v)
		if err != nil || strings.Contains(name, "UTF-8") {
			continue // it can't be put into JSON to begin with
		}
		if _, err := ParseVerdict(b); err == nil {
			t.Errorf("%s: was parsed", name)
		}
	}
}

func TestCodesOfALaterVersionAreReadButNotPublished(t *testing.T) {
	v := undecidedVerdict()
	v.Code, v.CodeNumber = ptr(Code("FACE_COVERED")), ptr(199)
	if v.Check() == nil {
		t.Error("an unknown code passed as ours")
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ParseVerdict(b); err != nil || *got.Code != "FACE_COVERED" {
		t.Errorf("%v, %v", got.Code, err)
	}
	v.CodeNumber = ptr(5)
	if b, err = json.Marshal(v); err != nil {
		t.Fatal(err)
	}
	if _, err := ParseVerdict(b); err == nil {
		t.Error("an unknown code was read with the number of PAD_ATTACK")
	}
}

func TestParseVerdictIsStrictAboutWhatMatters(t *testing.T) {
	b, err := json.Marshal(spoofVerdict())
	if err != nil {
		t.Fatal(err)
	}
	good := string(b)
	replace := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%s isn't in %s", old, good)
		}
		return strings.Replace(good, old, new, 1)
	}
	for name, test := range map[string]struct {
		in string
		ok bool
	}{
		"as it is":                      {good, true},
		"a member of a later version":   {replace(`{`, `{"mask":{"kind":["cloth"]},`), true},
		"white space around":            {" \n" + good + "\t", true},
		"microseconds and an offset":    {replace(`"2026-01-02T03:04:06.090Z"`, `"2026-01-02T04:04:06.090123+01:00"`), true},
		"a member twice":                {replace(`"verdict":"spoof"`, `"verdict":"live","verdict":"spoof"`), false},
		"a member in another case too":  {replace(`{`, `{"Verdict":"live",`), false},
		"a member in another case only": {replace(`"verdict"`, `"Verdict"`), false},
		"a member with a long s":        {replace(`{`, `{"ſeq":1,`), false},
		"twice, deep inside":            {replace(`"x":412`, `"x":412,"X":1`), false},
		"twice, in a later member":      {replace(`{`, `{"mask":[{"a":1,"a":2}],`), false},
		"no replayed":                   {replace(`"replayed":false,`, ``), false},
		"replayed is null":              {replace(`"replayed":false`, `"replayed":null`), false},
		"no code":                       {replace(`"code":"PAD_ATTACK",`, ``), false},
		"no session":                    {good[:strings.Index(good, `"session"`)] + good[strings.Index(good, `"action"`):], false},
		"text for a number":             {replace(`"seq":1234`, `"seq":"1234"`), false},
		"a negative seq":                {replace(`"seq":1234`, `"seq":-1`), false},
		"a seq with a fraction":         {replace(`"seq":1234`, `"seq":1.5`), false},
		"a time that isn't one":         {replace(`"2026-01-02T03:04:06.090Z"`, `"yesterday"`), false},
		"something after it":            {good + "{}", false},
		"half of it":                    {good[:len(good)/2], false},
		"null":                          {"null", false},
		"an array":                      {"[" + good + "]", false},
		"nothing":                       {"", false},
		"not UTF-8":                     {replace(`"u1"`, "\"u\xff\""), false},
		"too long":                      {strings.Repeat(" ", maxDocument) + good, false},
		"deep":                          {replace(`{`, `{"mask":`+strings.Repeat("[", 40)+strings.Repeat("]", 40)+`,`), false},
	} {
		v, err := ParseVerdict([]byte(test.in))
		if (err == nil) != test.ok {
			t.Errorf("%s: %v, want fine: %v", name, err, test.ok)
		}
		if err != nil && !reflect.DeepEqual(v, Verdict{}) {
			t.Errorf("%s: an error, and a verdict as well", name)
		}
	}
}

func FuzzParseVerdict(f *testing.F) {
	for name := range verdicts() {
		b, err := os.ReadFile(filepath.Join("testdata", "verdict", name+".json"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	for _, v := range inconsistent() {
		if b, err := json.Marshal(v); err == nil {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := ParseVerdict(b)
		if err != nil {
			return
		}
		if v.Verdict == Live && (v.Code != nil || v.Score == nil || *v.Score < v.LiveAt || v.Frames < 1 || v.Face == nil) {
			t.Fatalf("live against the rules: %s", b)
		}
		if (v.Verdict == Spoof) != (v.Code != nil && *v.Code == CodePADAttack) || v.Verdict == Spoof && v.Action != Deny {
			t.Fatalf("spoof against the rules: %s", b)
		}
		again, err := json.Marshal(v)
		if err != nil {
			t.Fatalf("can't be written again: %v", err)
		}
		w, err := ParseVerdict(again)
		if err != nil || !reflect.DeepEqual(v, w) {
			t.Fatalf("%+v became %+v, %v", v, w, err)
		}
	})
}
