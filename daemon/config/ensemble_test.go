package config

import (
	"reflect"
	"strings"
	"testing"
)

func TestModelsThatJudgeTogether(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       Models
		written    string // of it, in what is in effect
	}{
		{"one", "{liveness: a}", Models{Liveness: Ensemble{{"a", 1}}, Combine: "logits"}, "liveness: a\n"},
		{"the one inside the program, by leaving it empty", "{liveness: ''}", Models{Combine: "logits"}, "liveness: \"\"\n"},
		{"names", "{liveness: [a, /x/b]}", Models{Liveness: Ensemble{{"a", 1}, {"/x/b", 1}}, Combine: "logits"},
			"liveness: [{name: a, weight: 1}, {name: /x/b, weight: 1}]\n"},
		{"a list of one", "{liveness: [a]}", Models{Liveness: Ensemble{{"a", 1}}, Combine: "logits"}, "liveness: a\n"},
		{"weights", "{liveness: [{name: shipped, weight: 0.5}, {name: 'b: c'}, d], combine: probabilities}",
			Models{Liveness: Ensemble{{"shipped", 0.5}, {"b: c", 1}, {"d", 1}}, Combine: "probabilities"},
			"liveness: [{name: shipped, weight: 0.5}, {name: \"b: c\", weight: 1}, {name: d, weight: 1}]\n"},
		{"weights, line by line", "\n  liveness:\n    - name: a\n      weight: 2\n    - name: b\n",
			Models{Liveness: Ensemble{{"a", 2}, {"b", 1}}, Combine: "logits"}, "weight: 2}"},
		{"one key", "{trusted_keys: /etc/key.pem}", Models{Combine: "logits", TrustedKeys: []string{"/etc/key.pem"}}, "trusted_keys: [/etc/key.pem]\n"},
		{"keys", "{trusted_keys: [\"MCow+A/x=\", b]}", Models{Combine: "logits", TrustedKeys: []string{"MCow+A/x=", "b"}}, `trusted_keys: ["MCow+A/x=", b]` + "\n"},
		{"no keys", "{trusted_keys: null}", Models{Combine: "logits"}, "trusted_keys: null\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := parse("x.yaml", []byte("models: "+tt.text+"\n"), door)
			if err != nil {
				t.Fatal(err)
			}
			tt.want.Directory = "/var/lib/livenessd/models"
			if !reflect.DeepEqual(c.Models, tt.want) {
				t.Errorf("got  %+v\nwant %+v", c.Models, tt.want)
			}
			if y := string(c.YAML()); !strings.Contains(y, tt.written) {
				t.Errorf("no %q in\n%s", tt.written, y)
			}
			if again, err := parse("effective", c.YAML(), door); err != nil || !reflect.DeepEqual(again, c) {
				t.Errorf("what is in effect gives %+v, %v", again, err)
			}
		})
	}
}

func TestModelsThatCannotJudgeTogether(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"nobody", "{liveness: []}", "1:20: models.liveness is empty"},
		{"a number", "{liveness: [7]}", "1:21: models.liveness is 7"},
		{"a list in the list", "{liveness: [[a]]}", "1:21: models.liveness is a list"},
		{"no name", "{liveness: [{weight: 2}]}", "models.liveness has a model without a name"},
		{"an empty name", "{liveness: ['']}", "models.liveness has a model without a name"},
		{"twice", "{liveness: [a, {name: a, weight: 3}]}", "models.liveness has a twice"},
		{"an unknown key", "{liveness: [{name: a, wieght: 3}]}", `unknown key "models.liveness.wieght"`},
		{"a weight of nought", "{liveness: [{name: a, weight: 0}]}", "models.liveness.weight is 0; allowed is a number from 0.001 to 1000"},
		{"a weight below nought", "{liveness: [{name: a, weight: -1}]}", "models.liveness.weight is -1"},
		{"a weight that is no number", "{liveness: [{name: a, weight: .nan}]}", "models.liveness.weight is .nan"},
		{"too many", "{liveness: [a, b, c, d, e, f, g, h, i]}", "models.liveness has 9 models; allowed are 8"},
		{"another mean", "{combine: max}", `models.combine is "max"; allowed is logits, probabilities`},
		{"an empty list of keys, which could be read as trust in nobody", "{trusted_keys: []}", "models.trusted_keys is empty"},
		{"an empty key", "{trusted_keys: ['']}", "models.trusted_keys is \"\""},
		{"a key that is a number", "{trusted_keys: [5]}", "models.trusted_keys is 5"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := parse("x.yaml", []byte("models: "+tt.text+"\n"), door)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, which doesn't say %q: %+v", err, tt.want, c.Models)
			}
		})
	}
}
