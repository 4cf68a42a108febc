BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0003');
CREATE TABLE api_keys (
	key_id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	roles TEXT NOT NULL, 
	digest TEXT NOT NULL, 
	created_at TEXT NOT NULL, 
	created_by TEXT NOT NULL, 
	expires_at TEXT, 
	revoked_at TEXT, 
	replaces TEXT, 
	rate TEXT, 
	CONSTRAINT pk_api_keys PRIMARY KEY (key_id)
);
INSERT INTO "api_keys" VALUES('743dc25187e9','gateway','decide','16ebe7e77caa9e49e66bc01dda954e556990b533d6f6a8f4fcd45af7b10d895f','2026-11-23T00:44:53.688740Z','me',NULL,NULL,NULL,NULL);
CREATE TABLE audit (
	audit_id INTEGER NOT NULL, 
	created_at TEXT NOT NULL, 
	actor TEXT NOT NULL, 
	action TEXT NOT NULL, 
	subject TEXT NOT NULL, 
	details JSON NOT NULL, 
	CONSTRAINT pk_audit PRIMARY KEY (audit_id)
);
INSERT INTO "audit" VALUES(1,'2026-11-23T00:44:53.689426Z','me','keys.create','743dc25187e9','{"name": "gateway", "roles": ["decide"], "expires_at": null, "rate": null}');
CREATE TABLE decisions (
	decision_id TEXT NOT NULL, 
	created_at TEXT NOT NULL, 
	session_id TEXT, 
	kind TEXT NOT NULL, 
	model TEXT NOT NULL, 
	category TEXT, 
	risk TEXT, 
	scope TEXT, 
	turn TEXT, 
	model_version TEXT NOT NULL, 
	policy_version TEXT NOT NULL, 
	record JSON NOT NULL, project TEXT, 
	CONSTRAINT pk_decisions PRIMARY KEY (decision_id)
);
INSERT INTO "decisions" VALUES('decision-0','2026-11-23T00:44:53.683341Z','s-1','task','careful','debugging','high','multi','new','fake-1','p-1','{"record": "decision", "schema_version": 1, "decision_id": "decision-0", "created_at": "2026-11-23T00:44:53.683341Z", "model": "careful", "provider": "anthropic", "sticky": false, "context_tokens": 1000, "model_version": "fake-1", "policy_version": "p-1", "background": null, "session_id": "s-1", "agent_id": null, "turn_key": "", "request_key": "", "state_key": "", "next_state_key": "", "n_images": 0, "n_documents": 0, "output_tokens": 0, "client_model": null, "max_output_tokens": null, "policy": null, "effort": null, "catalog_version": "", "project": null, "team": null, "key_id": null, "expected_spend_usd": 0.1, "n_chars": 6, "script": "latin", "prompt": null, "fallbacks": ["cheap"], "reasons": ["High risk."], "codes": [], "needs": [], "kind": "task", "allowed": null, "assessment": {"novelty": 0.2, "model_version": "fake-1", "category": {"debugging": 0.8, "migration": 0.015384615384615385, "security": 0.015384615384615385, "infrastructure": 0.015384615384615385, "refactoring": 0.015384615384615385, "feature": 0.015384615384615385, "scaffolding": 0.015384615384615385, "ui": 0.015384615384615385, "tests": 0.015384615384615385, "docs": 0.015384615384615385, "review": 0.015384615384615385, "analysis": 0.015384615384615385, "operation": 0.015384615384615385, "other": 0.015384615384615385}, "risk": {"low": 0.1, "medium": 0.1, "high": 0.8}, "scope": {"file": 0.1, "multi": 0.8, "repo": 0.1}, "turn": {"new": 0.8, "follow": 0.1, "correct": 0.1}}, "expected_cost": [{"model": "careful", "tokens": 0.1, "switch": 0.0, "failure": 0.2, "effort": null, "cached": 0.0, "failure_probability": 0.0}], "excluded": [], "stakes": null, "limits": {}, "latency_ms": {}, "context": null}',NULL);
INSERT INTO "decisions" VALUES('decision-1','2026-11-23T00:44:53.683893Z',NULL,'task','careful','debugging','high','multi','new','fake-1','p-1','{"record": "decision", "schema_version": 1, "decision_id": "decision-1", "created_at": "2026-11-23T00:44:53.683893Z", "model": "careful", "provider": "anthropic", "sticky": false, "context_tokens": 1000, "model_version": "fake-1", "policy_version": "p-1", "background": null, "session_id": null, "agent_id": null, "turn_key": "", "request_key": "", "state_key": "", "next_state_key": "", "n_images": 0, "n_documents": 0, "output_tokens": 0, "client_model": null, "max_output_tokens": null, "policy": null, "effort": null, "catalog_version": "", "project": null, "team": null, "key_id": null, "expected_spend_usd": 0.1, "n_chars": 6, "script": "latin", "prompt": "quotes '' \" and \\ and \u20ac", "fallbacks": ["cheap"], "reasons": ["High risk."], "codes": [], "needs": [], "kind": "task", "allowed": null, "assessment": {"novelty": 0.2, "model_version": "fake-1", "category": {"debugging": 0.8, "migration": 0.015384615384615385, "security": 0.015384615384615385, "infrastructure": 0.015384615384615385, "refactoring": 0.015384615384615385, "feature": 0.015384615384615385, "scaffolding": 0.015384615384615385, "ui": 0.015384615384615385, "tests": 0.015384615384615385, "docs": 0.015384615384615385, "review": 0.015384615384615385, "analysis": 0.015384615384615385, "operation": 0.015384615384615385, "other": 0.015384615384615385}, "risk": {"low": 0.1, "medium": 0.1, "high": 0.8}, "scope": {"file": 0.1, "multi": 0.8, "repo": 0.1}, "turn": {"new": 0.8, "follow": 0.1, "correct": 0.1}}, "expected_cost": [{"model": "careful", "tokens": 0.1, "switch": 0.0, "failure": 0.2, "effort": null, "cached": 0.0, "failure_probability": 0.0}], "excluded": [], "stakes": null, "limits": {}, "latency_ms": {}, "context": null}',NULL);
INSERT INTO "decisions" VALUES('decision-2','2026-11-23T00:44:53.683690Z','s-1','task','careful','debugging','high','multi','new','fake-1','p-1','{"record": "decision", "schema_version": 1, "decision_id": "decision-2", "created_at": "2026-11-23T00:44:53.683690Z", "model": "careful", "provider": "anthropic", "sticky": false, "context_tokens": 1000, "model_version": "fake-1", "policy_version": "p-1", "background": null, "session_id": "s-1", "agent_id": null, "turn_key": "", "request_key": "", "state_key": "", "next_state_key": "", "n_images": 0, "n_documents": 0, "output_tokens": 0, "client_model": null, "max_output_tokens": null, "policy": null, "effort": null, "catalog_version": "", "project": null, "team": null, "key_id": null, "expected_spend_usd": 0.1, "n_chars": 6, "script": "latin", "prompt": null, "fallbacks": ["cheap"], "reasons": ["High risk."], "codes": [], "needs": [], "kind": "task", "allowed": null, "assessment": {"novelty": 0.2, "model_version": "fake-1", "category": {"debugging": 0.8, "migration": 0.015384615384615385, "security": 0.015384615384615385, "infrastructure": 0.015384615384615385, "refactoring": 0.015384615384615385, "feature": 0.015384615384615385, "scaffolding": 0.015384615384615385, "ui": 0.015384615384615385, "tests": 0.015384615384615385, "docs": 0.015384615384615385, "review": 0.015384615384615385, "analysis": 0.015384615384615385, "operation": 0.015384615384615385, "other": 0.015384615384615385}, "risk": {"low": 0.1, "medium": 0.1, "high": 0.8}, "scope": {"file": 0.1, "multi": 0.8, "repo": 0.1}, "turn": {"new": 0.8, "follow": 0.1, "correct": 0.1}}, "expected_cost": [{"model": "careful", "tokens": 0.1, "switch": 0.0, "failure": 0.2, "effort": null, "cached": 0.0, "failure_probability": 0.0}], "excluded": [], "stakes": null, "limits": {}, "latency_ms": {}, "context": null}',NULL);
INSERT INTO "decisions" VALUES('decision-3','2026-11-23T00:44:53.683763Z','s-1','task','careful','debugging','high','multi','new','fake-1','p-1','{"record": "decision", "schema_version": 1, "decision_id": "decision-3", "created_at": "2026-11-23T00:44:53.683763Z", "model": "careful", "provider": "anthropic", "sticky": false, "context_tokens": 1000, "model_version": "fake-1", "policy_version": "p-1", "background": null, "session_id": "s-1", "agent_id": null, "turn_key": "", "request_key": "", "state_key": "", "next_state_key": "", "n_images": 0, "n_documents": 0, "output_tokens": 0, "client_model": null, "max_output_tokens": null, "policy": null, "effort": null, "catalog_version": "", "project": null, "team": null, "key_id": null, "expected_spend_usd": 0.1, "n_chars": 6, "script": "latin", "prompt": null, "fallbacks": ["cheap"], "reasons": ["High risk."], "codes": [], "needs": [], "kind": "task", "allowed": null, "assessment": {"novelty": 0.2, "model_version": "fake-1", "category": {"debugging": 0.8, "migration": 0.015384615384615385, "security": 0.015384615384615385, "infrastructure": 0.015384615384615385, "refactoring": 0.015384615384615385, "feature": 0.015384615384615385, "scaffolding": 0.015384615384615385, "ui": 0.015384615384615385, "tests": 0.015384615384615385, "docs": 0.015384615384615385, "review": 0.015384615384615385, "analysis": 0.015384615384615385, "operation": 0.015384615384615385, "other": 0.015384615384615385}, "risk": {"low": 0.1, "medium": 0.1, "high": 0.8}, "scope": {"file": 0.1, "multi": 0.8, "repo": 0.1}, "turn": {"new": 0.8, "follow": 0.1, "correct": 0.1}}, "expected_cost": [{"model": "careful", "tokens": 0.1, "switch": 0.0, "failure": 0.2, "effort": null, "cached": 0.0, "failure_probability": 0.0}], "excluded": [], "stakes": null, "limits": {}, "latency_ms": {}, "context": null}',NULL);
INSERT INTO "decisions" VALUES('decision-4','2026-11-23T00:44:53.683828Z','s-1','task','careful','debugging','high','multi','new','fake-1','p-1','{"record": "decision", "schema_version": 1, "decision_id": "decision-4", "created_at": "2026-11-23T00:44:53.683828Z", "model": "careful", "provider": "anthropic", "sticky": false, "context_tokens": 1000, "model_version": "fake-1", "policy_version": "p-1", "background": null, "session_id": "s-1", "agent_id": null, "turn_key": "", "request_key": "", "state_key": "", "next_state_key": "", "n_images": 0, "n_documents": 0, "output_tokens": 0, "client_model": null, "max_output_tokens": null, "policy": null, "effort": null, "catalog_version": "", "project": null, "team": null, "key_id": null, "expected_spend_usd": 0.1, "n_chars": 6, "script": "latin", "prompt": null, "fallbacks": ["cheap"], "reasons": ["High risk."], "codes": [], "needs": [], "kind": "task", "allowed": null, "assessment": {"novelty": 0.2, "model_version": "fake-1", "category": {"debugging": 0.8, "migration": 0.015384615384615385, "security": 0.015384615384615385, "infrastructure": 0.015384615384615385, "refactoring": 0.015384615384615385, "feature": 0.015384615384615385, "scaffolding": 0.015384615384615385, "ui": 0.015384615384615385, "tests": 0.015384615384615385, "docs": 0.015384615384615385, "review": 0.015384615384615385, "analysis": 0.015384615384615385, "operation": 0.015384615384615385, "other": 0.015384615384615385}, "risk": {"low": 0.1, "medium": 0.1, "high": 0.8}, "scope": {"file": 0.1, "multi": 0.8, "repo": 0.1}, "turn": {"new": 0.8, "follow": 0.1, "correct": 0.1}}, "expected_cost": [{"model": "careful", "tokens": 0.1, "switch": 0.0, "failure": 0.2, "effort": null, "cached": 0.0, "failure_probability": 0.0}], "excluded": [], "stakes": null, "limits": {}, "latency_ms": {}, "context": null}',NULL);
CREATE TABLE feedback (
	feedback_id TEXT NOT NULL, 
	decision_id TEXT NOT NULL, 
	created_at TEXT NOT NULL, 
	outcome TEXT NOT NULL, 
	record JSON NOT NULL, 
	CONSTRAINT pk_feedback PRIMARY KEY (feedback_id), 
	CONSTRAINT fk_feedback_decision_id FOREIGN KEY(decision_id) REFERENCES decisions (decision_id)
);
INSERT INTO "feedback" VALUES('feedback-0','decision-0','2026-11-23T00:44:53.683962Z','success','{"record": "feedback", "schema_version": 1, "feedback_id": "feedback-0", "decision_id": "decision-0", "created_at": "2026-11-23T00:44:53.683962Z", "outcome": "success", "labels": {}, "cost_usd": null, "comment": null, "source": null}');
INSERT INTO "feedback" VALUES('feedback-1','decision-0','2026-11-23T00:44:53.683976Z','success','{"record": "feedback", "schema_version": 1, "feedback_id": "feedback-1", "decision_id": "decision-0", "created_at": "2026-11-23T00:44:53.683976Z", "outcome": "success", "labels": {}, "cost_usd": null, "comment": null, "source": null}');
INSERT INTO "feedback" VALUES('feedback-2','decision-0','2026-11-23T00:44:53.683986Z','success','{"record": "feedback", "schema_version": 1, "feedback_id": "feedback-2", "decision_id": "decision-0", "created_at": "2026-11-23T00:44:53.683986Z", "outcome": "success", "labels": {}, "cost_usd": null, "comment": null, "source": null}');
CREATE TABLE reviews (
	decision_id TEXT NOT NULL, 
	reviewer TEXT NOT NULL, 
	created_at TEXT NOT NULL, 
	category TEXT, 
	risk TEXT, 
	scope TEXT, 
	turn TEXT, 
	CONSTRAINT pk_reviews PRIMARY KEY (decision_id, reviewer), 
	CONSTRAINT fk_reviews_decision_id FOREIGN KEY(decision_id) REFERENCES decisions (decision_id)
);
INSERT INTO "reviews" VALUES('decision-1','me','2026-11-23T00:44:53.690149Z','debugging','high','multi','new');
CREATE INDEX ix_decisions_created_at ON decisions (created_at);
CREATE INDEX ix_decisions_session_id ON decisions (session_id);
CREATE INDEX ix_feedback_created_at ON feedback (created_at);
CREATE INDEX ix_feedback_decision_id ON feedback (decision_id);
CREATE INDEX ix_audit_created_at ON audit (created_at);
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'audit takes new rows only'); END;
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'audit takes new rows only'); END;
CREATE INDEX ix_reviews_created_at ON reviews (created_at);
CREATE INDEX ix_decisions_category ON decisions (category, created_at);
CREATE INDEX ix_decisions_risk ON decisions (risk, created_at);
CREATE INDEX ix_decisions_model ON decisions (model, created_at);
CREATE INDEX ix_decisions_project ON decisions (project, created_at);
COMMIT;
