package lab

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/livenessd/livenessd/models"
)

// injected is a fault that doctor.sh puts into the machine, what doctor must see of it and tell to do, and its exit code.
type injected struct {
	fault          string
	code           int
	check, subject string
	level          string
	seen, do       string
	brief          bool // also in the short form
}

var injections = []injected{
	{"camera_missing", 69, "camera", "front", "failure", "there is no such device", "plug the camera in, or correct the path. There are: /dev/video0", true},
	{"camera_busy", 69, "camera", "front", "failure", "busy", "stop v4l2-ctl (process ", true},
	{"not_in_group", 77, "camera", "front", "failure", "user livenessd may not open /dev/video0, which belongs to root:video with mode 0660", "usermod -aG video livenessd", true},
	{"nobodys_device", 77, "camera", "front", "failure", "mode 0600", "chgrp video", false},
	{"metadata_node", 78, "camera", "front", "failure", "isn't the node of this camera that gives pictures", "write path: " + cameraByID, false},
	{"wrong_format", 78, "camera", "front", "failure", "no pixel format NV12; there are: MJPG, YUYV", "MJPG", false},
	{"wrong_size", 0, "camera", "front", "warning", "the configuration wants 1920×1080, and the camera gives 640×480", "640x480", false},
	{"black_picture", 0, "camera", "front", "warning", "the picture is black", "take the cap or the shutter off", false},
	{"slow_camera", 1, "camera", "front", "failure", "a verdict takes 5 frames in 4s", "more light", false},
	{"unfed_loopback", 78, "camera", "front", "failure", "nothing feeds this loopback device", "once something feeds it", false},
	{"library_missing", 69, "library", "", "failure", "/run/none.so", "put libtensorflowlite_c.so beside the livenessd binary", true},
	{"library_garbage", 69, "library", "", "failure", "/run/garbage.so", "put libtensorflowlite_c.so beside the livenessd binary", false},
	{"library_of_another_machine", 69, "library", "", "failure", "it is for AARCH64, this machine is X86_64", "put libtensorflowlite_c.so", false},
	{"library_too_old", 69, "library", "", "failure", `it is version "1.9.0"; need 2.x`, "put libtensorflowlite_c.so", false},
	{"library_of_another_version", 0, "models", "self-test", "warning", "the nets fall back to delegate cpu", "see why the better one failed", false},
	{"damaged_model", 78, "models", "digests", "failure", "MODEL_REFUSED", "the file is damaged or was replaced: install the model again", true},
	{"another_model_file", 78, "models", "self-test", "failure", "/host/swapped", "", false},
	{"lying_library", 70, "models", "self-test", "failure", "models: self-test on ", "don't use this machine for access control", false},
	{"broker_down", 69, "broker", "tcp", "failure", "nothing listens there: connection refused", "start the broker, or correct host and port", true},
	{"unknown_host", 69, "broker", "name", "failure", "no-such-broker.invalid", "check the network of this machine, and its name service", false},
	{"wrong_password", 77, "broker", "login", "failure", `the broker refuses the user "door" or the password`, "check username, and what is in password_file", false},
	{"denied", 77, "broker", "publish", "failure", "", "access list allow", false},
	{"unknown_authority", 78, "broker", "tls", "failure", "isn't in ca_file", "put the certificate of that authority into /host/pki/other.pem", false},
	{"expired_certificate", 69, "broker", "tls", "failure", "expired", "renew the broker's certificate", false},
	{"port_without_tls", 78, "broker", "tls", "failure", "", "write mqtt://", false},
	{"clock_of_nobody", 0, "clock", "", "warning", "nothing synchronises the clock", "systemctl enable --now systemd-timesyncd", false},
	{"disk_full", 1, "disk", "state", "failure", "no space left on device", "the disk is full", false},
	{"disk_read_only", 1, "disk", "state", "failure", "read-only file system", "the file system is read-only", false},
	{"foreign_state", 77, "disk", "state", "failure", "user livenessd may not write into /mnt/foreign, which belongs to root:root", "chown -R livenessd: /mnt/foreign", false},
	{"unknown_key", 78, "configuration", "", "failure", `doctor.yaml:2:8: unknown key "mqtt.ulr"`, `did you mean "mqtt.url"?`, true},
	{"open_secret", 77, "files", "mqtt.password_file", "failure", "everybody can read this secret", "chmod o= /run/password", true},
	{"closed_secret", 77, "files", "mqtt.password_file", "failure", "user livenessd may not read /run/password", "chown root:livenessd /run/password && chmod 0640 /run/password", false},
	{"failed_unit", 78, "service", "", "failure", "exit code 78, the configuration can't be used", `unknown key "mqtt.ulr"`, false},
	{"well", 0, "camera", "front", "ok", "used by livenessd (process ", "", false},
}

// doctor lets doctor find the faults: some of them, or with LIVENESSD_LAB=all each one.
func (l lab) doctor(t *testing.T) {
	pki(t, filepath.Join(l.share, "pki"))
	bundles(t, l.share)
	liar(t, l.share)
	var faults []string
	for _, i := range injections {
		if i.brief || os.Getenv("LIVENESSD_LAB") == "all" {
			faults = append(faults, i.fault)
		}
	}
	o := l.run(t, 20*time.Minute, "doctor", faults...)
	for _, want := range injections {
		if !slices.Contains(faults, want.fault) {
			continue
		}
		t.Run(want.fault, func(t *testing.T) {
			type finding struct{ Check, Subject, Level, Seen, Do string }
			var r struct {
				Worst    string
				Findings []finding
			}
			text := o.read(t, want.fault+".json")
			if err := json.Unmarshal([]byte(text), &r); err != nil {
				t.Fatal(err)
			}
			found := func(f finding) bool {
				return f.Check == want.check && f.Subject == want.subject && f.Level == want.level && strings.Contains(f.Seen, want.seen) && strings.Contains(f.Do, want.do)
			}
			var all strings.Builder
			for _, f := range r.Findings {
				fmt.Fprintf(&all, "%+v\n", f)
			}
			if code := o.results[want.fault]; code != strconv.Itoa(want.code) || !slices.ContainsFunc(r.Findings, found) {
				t.Errorf("exit code %s, want %d, and a %s of %s %s like %q with %q:\n%s", code, want.code, want.level, want.check, want.subject, want.seen, want.do, all.String())
			}
			if want.code == 0 && r.Worst == "failure" || want.code != 0 && r.Worst != "failure" {
				t.Errorf("the worst is %s:\n%s", r.Worst, all.String())
			}
		})
	}
	if slices.Contains(faults, "well") {
		if st, err := os.Stat(filepath.Join(o.dir, "bundle.tar.gz")); err != nil || st.Size() == 0 {
			t.Errorf("no bundle: %v", err)
		}
	}
}

// pki writes an authority, another one, and certificates for localhost: one that is good and one that has expired.
func pki(t *testing.T, dir string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	save := func(name, kind string, der []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	save("key.pem", "PRIVATE KEY", der)
	day := 24 * time.Hour
	authority := func(name string) *x509.Certificate {
		return &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-90 * day), NotAfter: time.Now().Add(900 * day),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	}
	host := func(until time.Time) *x509.Certificate {
		return &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"}, NotBefore: time.Now().Add(-60 * day), NotAfter: until,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	}
	ca := authority("lab authority")
	for _, c := range []struct {
		name   string
		is, by *x509.Certificate
	}{
		{"ca.pem", ca, ca}, {"good.pem", host(time.Now().Add(400 * day)), ca}, {"expired.pem", host(time.Now().Add(-day)), ca},
	} {
		der, err := x509.CreateCertificate(rand.Reader, c.is, c.by, &key.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		save(c.name, "CERTIFICATE", der)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err = x509.CreateCertificate(rand.Reader, authority("another"), authority("another"), &other.PublicKey, other)
	if err != nil {
		t.Fatal(err)
	}
	save("other.pem", "CERTIFICATE", der)
}

// liar makes a library that is TensorFlow Lite, but whose nets' answers are turned round.
func liar(t *testing.T, share string) {
	t.Helper()
	const source = `#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
int TfLiteInterpreterInvoke(void *interpreter)
{
	static int (*invoke)(void *);
	static int (*outputs)(void *);
	static void *(*output)(void *, int);
	static unsigned char *(*data)(void *);
	static size_t (*size)(void *);
	if (!invoke) {
		outputs = dlsym(RTLD_NEXT, "TfLiteInterpreterGetOutputTensorCount");
		output = dlsym(RTLD_NEXT, "TfLiteInterpreterGetOutputTensor");
		data = dlsym(RTLD_NEXT, "TfLiteTensorData");
		size = dlsym(RTLD_NEXT, "TfLiteTensorByteSize");
		invoke = dlsym(RTLD_NEXT, "TfLiteInterpreterInvoke");
	}
	int status = invoke(interpreter);
	for (int i = 0; i < outputs(interpreter); i++) {
		void *t = output(interpreter, i);
		for (size_t j = 0; j < size(t); j++)
			data(t)[j] ^= 0x70;
	}
	return status;
}
`
	c := exec.CommandContext(t.Context(), "gcc", "-shared", "-fPIC", "-o", filepath.Join(share, "liar.so"), "-x", "c", "-", "-L"+share,
		"-Wl,--no-as-needed", "-l:libtensorflowlite_c.so", "-Wl,-rpath,$ORIGIN")
	c.Stdin = strings.NewReader(source)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// bundles writes the shipped liveness model as a bundle, and one whose manifest vouches for another net's file.
func bundles(t *testing.T, share string) {
	t.Helper()
	from := "../../models/shipped/"
	for _, f := range []string{"bundle", "swapped"} {
		if err := os.Mkdir(filepath.Join(share, f), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	const file, manifest = "livenessd-liveness.tflite", models.ManifestFile
	copyFile(t, from+"liveness/"+file, filepath.Join(share, "bundle", file))
	copyFile(t, from+"liveness/"+manifest, filepath.Join(share, "bundle", manifest))
	copyFile(t, from+"face/livenessd-face.tflite", filepath.Join(share, "swapped", file))
	digest := func(path string) string {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(b)
		return hex.EncodeToString(sum[:])
	}
	text, err := os.ReadFile(from + "liveness/" + manifest)
	if err != nil {
		t.Fatal(err)
	}
	swapped := strings.Replace(string(text), digest(from+"liveness/"+file), digest(from+"face/livenessd-face.tflite"), 1)
	if swapped == string(text) {
		t.Fatal("the manifest's digest isn't its file's")
	}
	if err := os.WriteFile(filepath.Join(share, "swapped", manifest), []byte(swapped), 0o644); err != nil {
		t.Fatal(err)
	}
}
