--
-- PostgreSQL database dump
--

\restrict JdPSDdqa080eQoM7K6ERDQPaMQTNOKWPXf0IDnTvaclM3m68Bbk08f72p4ExX8w

-- Dumped from database version 18.4
-- Dumped by pg_dump version 18.4

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: refuse_audit_change(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.refuse_audit_change() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'audit takes new rows only'; END $$;


SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: alembic_version; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);


--
-- Name: api_keys; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.api_keys (
    key_id text NOT NULL,
    name text NOT NULL,
    roles text NOT NULL,
    digest text NOT NULL,
    created_at text NOT NULL,
    created_by text NOT NULL,
    expires_at text,
    revoked_at text,
    replaces text,
    rate text
);


--
-- Name: audit; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.audit (
    audit_id integer NOT NULL,
    created_at text NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    details jsonb NOT NULL
);


--
-- Name: audit_audit_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

CREATE SEQUENCE public.audit_audit_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


--
-- Name: audit_audit_id_seq; Type: SEQUENCE OWNED BY; Schema: public; Owner: -
--

ALTER SEQUENCE public.audit_audit_id_seq OWNED BY public.audit.audit_id;


--
-- Name: decisions; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.decisions (
    decision_id text NOT NULL,
    created_at text NOT NULL,
    session_id text,
    kind text NOT NULL,
    model text NOT NULL,
    category text,
    risk text,
    scope text,
    turn text,
    model_version text NOT NULL,
    policy_version text NOT NULL,
    record jsonb NOT NULL,
    project text
);


--
-- Name: feedback; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.feedback (
    feedback_id text NOT NULL,
    decision_id text NOT NULL,
    created_at text NOT NULL,
    outcome text NOT NULL,
    record jsonb NOT NULL
);


--
-- Name: reviews; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.reviews (
    decision_id text NOT NULL,
    reviewer text NOT NULL,
    created_at text NOT NULL,
    category text,
    risk text,
    scope text,
    turn text
);


--
-- Name: audit audit_id; Type: DEFAULT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.audit ALTER COLUMN audit_id SET DEFAULT nextval('public.audit_audit_id_seq'::regclass);


--
-- Data for Name: alembic_version; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.alembic_version VALUES ('0003');


--
-- Data for Name: api_keys; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.api_keys VALUES ('34fd8a32fccc', 'gateway', 'decide', 'aa03a4ced3ea2448c439c8620a253362a1407b33858aac5df6cc643575f253d6', '2026-11-23T00:44:53.521888Z', 'me', NULL, NULL, NULL, NULL);


--
-- Data for Name: audit; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.audit VALUES (1, '2026-11-23T00:44:53.523913Z', 'me', 'keys.create', '34fd8a32fccc', '{"name": "gateway", "rate": null, "roles": ["decide"], "expires_at": null}');


--
-- Data for Name: decisions; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.decisions VALUES ('decision-0', '2026-11-23T00:44:53.482824Z', 's-1', 'task', 'careful', 'debugging', 'high', 'multi', 'new', 'fake-1', 'p-1', '{"kind": "task", "team": null, "codes": [], "model": "careful", "needs": [], "effort": null, "key_id": null, "limits": {}, "policy": null, "prompt": null, "record": "decision", "script": "latin", "stakes": null, "sticky": false, "allowed": null, "context": null, "n_chars": 6, "project": null, "reasons": ["High risk."], "agent_id": null, "excluded": [], "n_images": 0, "provider": "anthropic", "turn_key": "", "fallbacks": ["cheap"], "state_key": "", "assessment": {"risk": {"low": 0.1, "high": 0.8, "medium": 0.1}, "turn": {"new": 0.8, "follow": 0.1, "correct": 0.1}, "scope": {"file": 0.1, "repo": 0.1, "multi": 0.8}, "novelty": 0.2, "category": {"ui": 0.015384615384615385, "docs": 0.015384615384615385, "other": 0.015384615384615385, "tests": 0.015384615384615385, "review": 0.015384615384615385, "feature": 0.015384615384615385, "analysis": 0.015384615384615385, "security": 0.015384615384615385, "debugging": 0.8, "migration": 0.015384615384615385, "operation": 0.015384615384615385, "refactoring": 0.015384615384615385, "scaffolding": 0.015384615384615385, "infrastructure": 0.015384615384615385}, "model_version": "fake-1"}, "background": null, "created_at": "2026-11-23T00:44:53.482824Z", "latency_ms": {}, "session_id": "s-1", "decision_id": "decision-0", "n_documents": 0, "request_key": "", "client_model": null, "expected_cost": [{"model": "careful", "cached": 0.0, "effort": null, "switch": 0.0, "tokens": 0.1, "failure": 0.2, "failure_probability": 0.0}], "model_version": "fake-1", "output_tokens": 0, "context_tokens": 1000, "next_state_key": "", "policy_version": "p-1", "schema_version": 1, "catalog_version": "", "max_output_tokens": null, "expected_spend_usd": 0.1}', NULL);
INSERT INTO public.decisions VALUES ('decision-1', '2026-11-23T00:44:53.483503Z', NULL, 'task', 'careful', 'debugging', 'high', 'multi', 'new', 'fake-1', 'p-1', '{"kind": "task", "team": null, "codes": [], "model": "careful", "needs": [], "effort": null, "key_id": null, "limits": {}, "policy": null, "prompt": "quotes '' \" and \\ and €", "record": "decision", "script": "latin", "stakes": null, "sticky": false, "allowed": null, "context": null, "n_chars": 6, "project": null, "reasons": ["High risk."], "agent_id": null, "excluded": [], "n_images": 0, "provider": "anthropic", "turn_key": "", "fallbacks": ["cheap"], "state_key": "", "assessment": {"risk": {"low": 0.1, "high": 0.8, "medium": 0.1}, "turn": {"new": 0.8, "follow": 0.1, "correct": 0.1}, "scope": {"file": 0.1, "repo": 0.1, "multi": 0.8}, "novelty": 0.2, "category": {"ui": 0.015384615384615385, "docs": 0.015384615384615385, "other": 0.015384615384615385, "tests": 0.015384615384615385, "review": 0.015384615384615385, "feature": 0.015384615384615385, "analysis": 0.015384615384615385, "security": 0.015384615384615385, "debugging": 0.8, "migration": 0.015384615384615385, "operation": 0.015384615384615385, "refactoring": 0.015384615384615385, "scaffolding": 0.015384615384615385, "infrastructure": 0.015384615384615385}, "model_version": "fake-1"}, "background": null, "created_at": "2026-11-23T00:44:53.483503Z", "latency_ms": {}, "session_id": null, "decision_id": "decision-1", "n_documents": 0, "request_key": "", "client_model": null, "expected_cost": [{"model": "careful", "cached": 0.0, "effort": null, "switch": 0.0, "tokens": 0.1, "failure": 0.2, "failure_probability": 0.0}], "model_version": "fake-1", "output_tokens": 0, "context_tokens": 1000, "next_state_key": "", "policy_version": "p-1", "schema_version": 1, "catalog_version": "", "max_output_tokens": null, "expected_spend_usd": 0.1}', NULL);
INSERT INTO public.decisions VALUES ('decision-2', '2026-11-23T00:44:53.483283Z', 's-1', 'task', 'careful', 'debugging', 'high', 'multi', 'new', 'fake-1', 'p-1', '{"kind": "task", "team": null, "codes": [], "model": "careful", "needs": [], "effort": null, "key_id": null, "limits": {}, "policy": null, "prompt": null, "record": "decision", "script": "latin", "stakes": null, "sticky": false, "allowed": null, "context": null, "n_chars": 6, "project": null, "reasons": ["High risk."], "agent_id": null, "excluded": [], "n_images": 0, "provider": "anthropic", "turn_key": "", "fallbacks": ["cheap"], "state_key": "", "assessment": {"risk": {"low": 0.1, "high": 0.8, "medium": 0.1}, "turn": {"new": 0.8, "follow": 0.1, "correct": 0.1}, "scope": {"file": 0.1, "repo": 0.1, "multi": 0.8}, "novelty": 0.2, "category": {"ui": 0.015384615384615385, "docs": 0.015384615384615385, "other": 0.015384615384615385, "tests": 0.015384615384615385, "review": 0.015384615384615385, "feature": 0.015384615384615385, "analysis": 0.015384615384615385, "security": 0.015384615384615385, "debugging": 0.8, "migration": 0.015384615384615385, "operation": 0.015384615384615385, "refactoring": 0.015384615384615385, "scaffolding": 0.015384615384615385, "infrastructure": 0.015384615384615385}, "model_version": "fake-1"}, "background": null, "created_at": "2026-11-23T00:44:53.483283Z", "latency_ms": {}, "session_id": "s-1", "decision_id": "decision-2", "n_documents": 0, "request_key": "", "client_model": null, "expected_cost": [{"model": "careful", "cached": 0.0, "effort": null, "switch": 0.0, "tokens": 0.1, "failure": 0.2, "failure_probability": 0.0}], "model_version": "fake-1", "output_tokens": 0, "context_tokens": 1000, "next_state_key": "", "policy_version": "p-1", "schema_version": 1, "catalog_version": "", "max_output_tokens": null, "expected_spend_usd": 0.1}', NULL);
INSERT INTO public.decisions VALUES ('decision-3', '2026-11-23T00:44:53.483358Z', 's-1', 'task', 'careful', 'debugging', 'high', 'multi', 'new', 'fake-1', 'p-1', '{"kind": "task", "team": null, "codes": [], "model": "careful", "needs": [], "effort": null, "key_id": null, "limits": {}, "policy": null, "prompt": null, "record": "decision", "script": "latin", "stakes": null, "sticky": false, "allowed": null, "context": null, "n_chars": 6, "project": null, "reasons": ["High risk."], "agent_id": null, "excluded": [], "n_images": 0, "provider": "anthropic", "turn_key": "", "fallbacks": ["cheap"], "state_key": "", "assessment": {"risk": {"low": 0.1, "high": 0.8, "medium": 0.1}, "turn": {"new": 0.8, "follow": 0.1, "correct": 0.1}, "scope": {"file": 0.1, "repo": 0.1, "multi": 0.8}, "novelty": 0.2, "category": {"ui": 0.015384615384615385, "docs": 0.015384615384615385, "other": 0.015384615384615385, "tests": 0.015384615384615385, "review": 0.015384615384615385, "feature": 0.015384615384615385, "analysis": 0.015384615384615385, "security": 0.015384615384615385, "debugging": 0.8, "migration": 0.015384615384615385, "operation": 0.015384615384615385, "refactoring": 0.015384615384615385, "scaffolding": 0.015384615384615385, "infrastructure": 0.015384615384615385}, "model_version": "fake-1"}, "background": null, "created_at": "2026-11-23T00:44:53.483358Z", "latency_ms": {}, "session_id": "s-1", "decision_id": "decision-3", "n_documents": 0, "request_key": "", "client_model": null, "expected_cost": [{"model": "careful", "cached": 0.0, "effort": null, "switch": 0.0, "tokens": 0.1, "failure": 0.2, "failure_probability": 0.0}], "model_version": "fake-1", "output_tokens": 0, "context_tokens": 1000, "next_state_key": "", "policy_version": "p-1", "schema_version": 1, "catalog_version": "", "max_output_tokens": null, "expected_spend_usd": 0.1}', NULL);
INSERT INTO public.decisions VALUES ('decision-4', '2026-11-23T00:44:53.483433Z', 's-1', 'task', 'careful', 'debugging', 'high', 'multi', 'new', 'fake-1', 'p-1', '{"kind": "task", "team": null, "codes": [], "model": "careful", "needs": [], "effort": null, "key_id": null, "limits": {}, "policy": null, "prompt": null, "record": "decision", "script": "latin", "stakes": null, "sticky": false, "allowed": null, "context": null, "n_chars": 6, "project": null, "reasons": ["High risk."], "agent_id": null, "excluded": [], "n_images": 0, "provider": "anthropic", "turn_key": "", "fallbacks": ["cheap"], "state_key": "", "assessment": {"risk": {"low": 0.1, "high": 0.8, "medium": 0.1}, "turn": {"new": 0.8, "follow": 0.1, "correct": 0.1}, "scope": {"file": 0.1, "repo": 0.1, "multi": 0.8}, "novelty": 0.2, "category": {"ui": 0.015384615384615385, "docs": 0.015384615384615385, "other": 0.015384615384615385, "tests": 0.015384615384615385, "review": 0.015384615384615385, "feature": 0.015384615384615385, "analysis": 0.015384615384615385, "security": 0.015384615384615385, "debugging": 0.8, "migration": 0.015384615384615385, "operation": 0.015384615384615385, "refactoring": 0.015384615384615385, "scaffolding": 0.015384615384615385, "infrastructure": 0.015384615384615385}, "model_version": "fake-1"}, "background": null, "created_at": "2026-11-23T00:44:53.483433Z", "latency_ms": {}, "session_id": "s-1", "decision_id": "decision-4", "n_documents": 0, "request_key": "", "client_model": null, "expected_cost": [{"model": "careful", "cached": 0.0, "effort": null, "switch": 0.0, "tokens": 0.1, "failure": 0.2, "failure_probability": 0.0}], "model_version": "fake-1", "output_tokens": 0, "context_tokens": 1000, "next_state_key": "", "policy_version": "p-1", "schema_version": 1, "catalog_version": "", "max_output_tokens": null, "expected_spend_usd": 0.1}', NULL);


--
-- Data for Name: feedback; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.feedback VALUES ('feedback-0', 'decision-0', '2026-11-23T00:44:53.483574Z', 'success', '{"labels": {}, "record": "feedback", "source": null, "comment": null, "outcome": "success", "cost_usd": null, "created_at": "2026-11-23T00:44:53.483574Z", "decision_id": "decision-0", "feedback_id": "feedback-0", "schema_version": 1}');
INSERT INTO public.feedback VALUES ('feedback-1', 'decision-0', '2026-11-23T00:44:53.483593Z', 'success', '{"labels": {}, "record": "feedback", "source": null, "comment": null, "outcome": "success", "cost_usd": null, "created_at": "2026-11-23T00:44:53.483593Z", "decision_id": "decision-0", "feedback_id": "feedback-1", "schema_version": 1}');
INSERT INTO public.feedback VALUES ('feedback-2', 'decision-0', '2026-11-23T00:44:53.483602Z', 'success', '{"labels": {}, "record": "feedback", "source": null, "comment": null, "outcome": "success", "cost_usd": null, "created_at": "2026-11-23T00:44:53.483602Z", "decision_id": "decision-0", "feedback_id": "feedback-2", "schema_version": 1}');


--
-- Data for Name: reviews; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.reviews VALUES ('decision-1', 'me', '2026-11-23T00:44:53.526123Z', 'debugging', 'high', 'multi', 'new');


--
-- Name: audit_audit_id_seq; Type: SEQUENCE SET; Schema: public; Owner: -
--

SELECT pg_catalog.setval('public.audit_audit_id_seq', 1, true);


--
-- Name: alembic_version alembic_version_pkc; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);


--
-- Name: api_keys pk_api_keys; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT pk_api_keys PRIMARY KEY (key_id);


--
-- Name: audit pk_audit; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.audit
    ADD CONSTRAINT pk_audit PRIMARY KEY (audit_id);


--
-- Name: decisions pk_decisions; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.decisions
    ADD CONSTRAINT pk_decisions PRIMARY KEY (decision_id);


--
-- Name: feedback pk_feedback; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.feedback
    ADD CONSTRAINT pk_feedback PRIMARY KEY (feedback_id);


--
-- Name: reviews pk_reviews; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.reviews
    ADD CONSTRAINT pk_reviews PRIMARY KEY (decision_id, reviewer);


--
-- Name: ix_audit_created_at; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_audit_created_at ON public.audit USING btree (created_at);


--
-- Name: ix_decisions_category; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_decisions_category ON public.decisions USING btree (category, created_at);


--
-- Name: ix_decisions_created_at; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_decisions_created_at ON public.decisions USING btree (created_at);


--
-- Name: ix_decisions_model; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_decisions_model ON public.decisions USING btree (model, created_at);


--
-- Name: ix_decisions_project; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_decisions_project ON public.decisions USING btree (project, created_at);


--
-- Name: ix_decisions_risk; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_decisions_risk ON public.decisions USING btree (risk, created_at);


--
-- Name: ix_decisions_session_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_decisions_session_id ON public.decisions USING btree (session_id);


--
-- Name: ix_feedback_created_at; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_feedback_created_at ON public.feedback USING btree (created_at);


--
-- Name: ix_feedback_decision_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_feedback_decision_id ON public.feedback USING btree (decision_id);


--
-- Name: ix_reviews_created_at; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_reviews_created_at ON public.reviews USING btree (created_at);


--
-- Name: audit audit_append_only; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER audit_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.audit FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_audit_change();


--
-- Name: feedback fk_feedback_decision_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.feedback
    ADD CONSTRAINT fk_feedback_decision_id FOREIGN KEY (decision_id) REFERENCES public.decisions(decision_id);


--
-- Name: reviews fk_reviews_decision_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.reviews
    ADD CONSTRAINT fk_reviews_decision_id FOREIGN KEY (decision_id) REFERENCES public.decisions(decision_id);


--
-- PostgreSQL database dump complete
--

\unrestrict JdPSDdqa080eQoM7K6ERDQPaMQTNOKWPXf0IDnTvaclM3m68Bbk08f72p4ExX8w

