package metrics

import (
	"runtime"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/livenessd/livenessd/camera"
	"github.com/livenessd/livenessd/daemon"
	"github.com/livenessd/livenessd/mqtt"
)

// starting is the state of a camera of which nothing is known yet.
const starting = "starting"

// families are the metrics that are asked for when somebody scrapes. What isn't known has no value, rather than 0.
func families() []family {
	gauge, counter := prometheus.GaugeValue, prometheus.CounterValue
	return slices.Concat([]family{
		{"build_info", "What runs; always 1.", gauge, []string{"version", "goversion", "goarch"}, func(s *seen, say say) {
			say(1, s.version, runtime.Version(), runtime.GOARCH)
		}},
		{"device_info", "Which device it is, in its own topics and verdicts; always 1.", gauge, []string{"device"}, func(s *seen, say say) {
			if s.health.Device != "" {
				say(1, s.health.Device)
			}
		}},
		{"phase", "1 for the phase that the daemon is in, else 0.", gauge, []string{"phase"}, func(s *seen, say say) {
			for _, p := range []string{daemon.PhaseStarting, daemon.PhaseReady, daemon.PhaseReloading, daemon.PhaseStopping, daemon.PhaseFailed} {
				say(truth(p == s.health.Phase), p)
			}
		}},
		{"ready", "1 if whoever is in front of each camera would be judged now: what /readyz says.", gauge, nil, func(s *seen, say say) {
			say(truth(Ready(s.health, s.figures, s.runs).Ready))
		}},
		{"stuck_parts", "Parts of the daemon that stand still and must not; the watchdog restarts it if that lasts.", gauge, nil, func(s *seen, say say) {
			say(float64(len(s.health.Stuck)))
		}},
		{"config_last_reload_successful", "0 if the newest configuration couldn't be used, so that the one before it is in effect.", gauge, nil, func(s *seen, say say) {
			say(truth(s.health.Refused == nil))
		}},
	}, ofCameras(gauge, counter), ofRun(gauge), ofDelivery(gauge, counter))
}

// ofCameras are the metrics with a camera's name.
func ofCameras(gauge, counter prometheus.ValueType) []family {
	each := func(f func(daemon.CameraFigures, say)) func(*seen, say) {
		return func(s *seen, say say) {
			for _, c := range s.figures.Cameras {
				f(c, say)
			}
		}
	}
	label := []string{"camera"}
	return []family{
		{"camera_info", "What a camera is for, and whether faces are judged by themselves or on request (decision.mode); always 1.", gauge, []string{"camera", "role", "mode"},
			func(s *seen, say say) {
				for _, c := range s.figures.Cameras {
					say(1, c.Name, c.Role, s.figures.Mode)
				}
			}},
		{"camera_state", "1 for the state that a camera is in, else 0; it is failed, too, while frames come and the nets can't look at them.", gauge, []string{"camera", "state"},
			func(s *seen, say say) {
				for _, c := range s.health.Cameras {
					for _, state := range []string{starting, camera.StateStreaming, camera.StateRecovering, camera.StateFailed} {
						say(truth(state == c.State), c.Name, state)
					}
				}
			}},
		{"camera_reopened_total", "How often a camera was opened again.", counter, label, each(func(c daemon.CameraFigures, say say) {
			say(float64(c.Status.Counters.Reopened), c.Name)
		})},
		{"camera_health", "1 for how well a camera does, else 0: alarmed is one whose frames come, but not as they should, escalated one that opening it again didn't help.", gauge,
			[]string{"camera", "health"}, each(func(c daemon.CameraFigures, say say) {
				for _, health := range camera.Healths() {
					say(truth(health == c.Status.Health.State), c.Name, health)
				}
			})},
		{"camera_alarm", "1 for what is wrong with the frames that come from a camera, else 0.", gauge, []string{"camera", "alarm"}, each(func(c daemon.CameraFigures, say say) {
			for _, alarm := range camera.Alarms() {
				say(truth(slices.Contains(c.Status.Health.Alarms, alarm)), c.Name, alarm)
			}
		})},
		{"camera_outages_total", "How often a camera was lost after it had streamed.", counter, label, each(func(c daemon.CameraFigures, say say) {
			say(float64(c.Status.Health.Outages), c.Name)
		})},
		{"camera_resets_total", "How often a camera's USB device was reset.", counter, label, each(func(c daemon.CameraFigures, say say) {
			say(float64(c.Status.Health.Resets), c.Name)
		})},
		{"camera_skipped_frames_total", "Frames that a driver's numbering skips.", counter, label, each(func(c daemon.CameraFigures, say say) {
			say(float64(c.Status.Counters.Lost), c.Name)
		})},
		{"camera_frame_rate_hertz", "Frames a second that were agreed with the camera's driver.", gauge, label, each(func(c daemon.CameraFigures, say say) {
			if c.Status.FPS > 0 {
				say(c.Status.FPS, c.Name)
			}
		})},
		{"camera_last_frame_timestamp_seconds", "When the newest frame was taken from a camera, since 1970.", gauge, label, each(func(c daemon.CameraFigures, say say) {
			if !c.Frame.IsZero() {
				say(seconds(c.Frame), c.Name)
			}
		})},
		{"camera_captured_frames_total", "Frames that a camera brought, good or bad.", counter, label, each(func(c daemon.CameraFigures, say say) {
			say(float64(c.Status.Counters.Captured), c.Name)
		})},
		{"camera_dropped_frames_total", "Whole frames that a newer one replaced before anybody had time for them.", counter, label, each(func(c daemon.CameraFigures, say say) {
			say(float64(c.Status.Counters.Dropped), c.Name)
		})},
		{"camera_bad_frames_total", "Frames that couldn't be used, by what is wrong with them.", counter, []string{"camera", "reason"}, each(func(c daemon.CameraFigures, say say) {
			b := c.Status.Counters.Bad
			for _, r := range []struct {
				name string
				n    uint64
			}{
				{"faulty", b.Faulty}, {"empty", b.Empty}, {"short", b.Short}, {"truncated", b.Truncated}, {"corrupt", b.Corrupt},
				{"wrong_size", b.WrongSize}, {"too_large", b.TooLarge}, {"unsupported", b.Unsupported},
			} {
				say(float64(r.n), c.Name, r.name)
			}
		})},
	}
}

// delegateStates are what can become of a delegate.
func delegateStates() []mqtt.DelegateState {
	return []mqtt.DelegateState{mqtt.DelegateUsed, mqtt.DelegateRefused, mqtt.DelegateResting, mqtt.DelegateUntried}
}

// ofRun are what it runs on.
func ofRun(gauge prometheus.ValueType) []family {
	return []family{
		{"model_info", "The models that look and judge; always 1.", gauge, []string{"task", "name", "version", "sha256"}, func(s *seen, say say) {
			for _, m := range s.figures.About.Models {
				say(1, m.Task, m.Name, m.Version, m.SHA256)
			}
		}},
		{"inference_info", "The version of TensorFlow Lite and what runs the nets; always 1.", gauge, []string{"runtime", "delegate"}, func(s *seen, say say) {
			if s.runs {
				say(1, s.figures.About.Runtime, s.figures.About.Delegate)
			}
		}},
		{"delegate_state", "1 for what became of each delegate that the configuration prefers, else 0: used, refused, resting (it went wrong lately), untried.", gauge,
			[]string{"delegate", "state"}, func(s *seen, say say) {
				for _, d := range s.figures.About.Delegates {
					for _, state := range delegateStates() {
						say(truth(state == d.State), d.Delegate, string(state))
					}
				}
			}},
		{"delegate_picture_duration_seconds", "What a picture took all nets together when the delegate was tried: the median.", gauge, []string{"delegate"}, func(s *seen, say say) {
			for _, d := range s.figures.About.Delegates {
				if d.MedianMS > 0 {
					say(d.MedianMS/1e3, d.Delegate)
				}
			}
		}},
		{"clock_synchronized", "1 if the machine's clock follows a reference.", gauge, nil, func(s *seen, say say) {
			if s.runs {
				say(truth(s.figures.Synced))
			}
		}},
		{"temperature_celsius", "What the machine's sensors say.", gauge, []string{"sensor"}, func(s *seen, say say) {
			for _, t := range s.figures.Temperatures {
				say(t.Celsius, t.Sensor)
			}
		}},
	}
}

// ofDelivery are the broker's and the journal's.
func ofDelivery(gauge, counter prometheus.ValueType) []family {
	in := func(f func(*mqtt.Status) float64) func(*seen, say) {
		return func(s *seen, say say) {
			if s.runs {
				say(f(&s.figures.Delivery))
			}
		}
	}
	return []family{
		{"broker_connected", "1 if there is a connection to a broker, and all that it retains was published.", gauge, nil,
			in(func(s *mqtt.Status) float64 { return truth(s.Connected) })},
		{"broker_connections_total", "How often a connection was made.", counter, nil, in(func(s *mqtt.Status) float64 { return float64(s.Connections) })},
		{"broker_last_acknowledgement_timestamp_seconds", "When the broker last acknowledged a verdict, since 1970.", gauge, nil, func(s *seen, say say) {
			if t := s.figures.Delivery.Acknowledged; !t.IsZero() {
				say(seconds(t))
			}
		}},
		{"verdicts_acknowledged_total", "Verdicts that the broker has.", counter, nil, in(func(s *mqtt.Status) float64 { return float64(s.Published) })},
		{"verdicts_lost_total", "Verdicts that won't come, by the reason that the gap has. How many a damaged file held nobody knows: each counts as one.", counter,
			[]string{"reason"}, func(s *seen, say say) {
				if !s.runs {
					return
				}
				l := s.figures.Delivery.Lost
				for _, r := range []struct {
					why mqtt.GapReason
					n   uint64
				}{{mqtt.GapCount, l.Count}, {mqtt.GapBytes, l.Bytes}, {mqtt.GapAge, l.Age}, {mqtt.GapRefused, l.Refused}, {mqtt.GapDamaged, l.Damaged}} {
					say(float64(r.n), string(r.why))
				}
			}},
		{"journal_verdicts", "Verdicts that wait for the broker.", gauge, nil, in(func(s *mqtt.Status) float64 { return float64(s.Queued) })},
		{"journal_bytes", "Length of the documents that wait.", gauge, nil, in(func(s *mqtt.Status) float64 { return float64(s.Bytes) })},
		{"journal_volatile_verdicts", "Verdicts of those that wait that a power cut would lose.", gauge, nil, in(func(s *mqtt.Status) float64 { return float64(s.Volatile) })},
		{"journal_gaps", "Gaps that wait: announcements of lost verdicts.", gauge, nil, in(func(s *mqtt.Status) float64 { return float64(s.Gaps) })},
		{"journal_max_verdicts", "How many verdicts may wait: mqtt.journal.count.", gauge, nil, func(s *seen, say say) {
			if s.runs {
				say(float64(s.figures.MaxQueued))
			}
		}},
		{"journal_max_bytes", "How long their documents may be together: mqtt.journal.bytes.", gauge, nil, func(s *seen, say say) {
			if s.runs {
				say(float64(s.figures.MaxBytes))
			}
		}},
		{"journal_on_disk", "0 if the journal can't be written, so that verdicts wait in memory alone.", gauge, nil, func(s *seen, say say) {
			if j := s.figures.Journal; j != nil {
				say(truth(j.State == mqtt.JournalDisk))
			}
		}},
		{"refused_documents_total", "Documents that contradicted themselves and weren't published: an error in livenessd.", counter, nil,
			in(func(s *mqtt.Status) float64 { return float64(s.Refused) })},
		{"dropped_requests_total", "Requests over MQTT that came faster than they were taken.", counter, nil, in(func(s *mqtt.Status) float64 { return float64(s.Unheard) })},
		{"dropped_messages_total", "Responses, hints and telemetry that were dropped, or came too late.", counter, nil,
			in(func(s *mqtt.Status) float64 { return float64(s.Unanswered) })},
	}
}
