--
-- PostgreSQL database dump
--

\restrict FzPAsWtYcFZqJiTivEgDxnKaO6ShkMMmHCeCs8ofNyIHvjUq0DwhjPnhUQtkuP3

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

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: alembic_version; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);


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
    record jsonb NOT NULL
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
-- Data for Name: alembic_version; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.alembic_version VALUES ('0001');


--
-- Data for Name: decisions; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.decisions VALUES ('decision-0', '2026-11-22T23:24:58.079884Z', 's-1', 'task', 'careful', 'debugging', 'high', 'multi', 'new', 'fake-1', 'p-1', '{"kind": "task", "team": null, "codes": [], "model": "careful", "needs": [], "effort": null, "key_id": null, "limits": {}, "policy": null, "prompt": null, "record": "decision", "stakes": null, "sticky": false, "allowed": null, "context": null, "project": null, "reasons": ["High risk."], "agent_id": null, "excluded": [], "n_images": 0, "provider": "anthropic", "turn_key": "", "fallbacks": ["cheap"], "state_key": "", "assessment": {"risk": {"low": 0.1, "high": 0.8, "medium": 0.1}, "turn": {"new": 0.8, "follow": 0.1, "correct": 0.1}, "scope": {"file": 0.1, "repo": 0.1, "multi": 0.8}, "novelty": 0.2, "category": {"ui": 0.015384615384615385, "docs": 0.015384615384615385, "other": 0.015384615384615385, "tests": 0.015384615384615385, "review": 0.015384615384615385, "feature": 0.015384615384615385, "analysis": 0.015384615384615385, "security": 0.015384615384615385, "debugging": 0.8, "migration": 0.015384615384615385, "operation": 0.015384615384615385, "refactoring": 0.015384615384615385, "scaffolding": 0.015384615384615385, "infrastructure": 0.015384615384615385}, "model_version": "fake-1"}, "background": null, "created_at": "2026-11-22T23:24:58.079884Z", "latency_ms": {}, "session_id": "s-1", "decision_id": "decision-0", "n_documents": 0, "request_key": "", "client_model": null, "expected_cost": [{"model": "careful", "cached": 0.0, "effort": null, "switch": 0.0, "tokens": 0.1, "failure": 0.2, "failure_probability": 0.0}], "model_version": "fake-1", "context_tokens": 1000, "next_state_key": "", "policy_version": "p-1", "schema_version": 1, "catalog_version": "", "max_output_tokens": null, "expected_spend_usd": 0.1}');
INSERT INTO public.decisions VALUES ('decision-1', '2026-11-22T23:24:58.080562Z', NULL, 'task', 'careful', 'debugging', 'high', 'multi', 'new', 'fake-1', 'p-1', '{"kind": "task", "team": null, "codes": [], "model": "careful", "needs": [], "effort": null, "key_id": null, "limits": {}, "policy": null, "prompt": "quotes '' \" and \\ and €", "record": "decision", "stakes": null, "sticky": false, "allowed": null, "context": null, "project": null, "reasons": ["High risk."], "agent_id": null, "excluded": [], "n_images": 0, "provider": "anthropic", "turn_key": "", "fallbacks": ["cheap"], "state_key": "", "assessment": {"risk": {"low": 0.1, "high": 0.8, "medium": 0.1}, "turn": {"new": 0.8, "follow": 0.1, "correct": 0.1}, "scope": {"file": 0.1, "repo": 0.1, "multi": 0.8}, "novelty": 0.2, "category": {"ui": 0.015384615384615385, "docs": 0.015384615384615385, "other": 0.015384615384615385, "tests": 0.015384615384615385, "review": 0.015384615384615385, "feature": 0.015384615384615385, "analysis": 0.015384615384615385, "security": 0.015384615384615385, "debugging": 0.8, "migration": 0.015384615384615385, "operation": 0.015384615384615385, "refactoring": 0.015384615384615385, "scaffolding": 0.015384615384615385, "infrastructure": 0.015384615384615385}, "model_version": "fake-1"}, "background": null, "created_at": "2026-11-22T23:24:58.080562Z", "latency_ms": {}, "session_id": null, "decision_id": "decision-1", "n_documents": 0, "request_key": "", "client_model": null, "expected_cost": [{"model": "careful", "cached": 0.0, "effort": null, "switch": 0.0, "tokens": 0.1, "failure": 0.2, "failure_probability": 0.0}], "model_version": "fake-1", "context_tokens": 1000, "next_state_key": "", "policy_version": "p-1", "schema_version": 1, "catalog_version": "", "max_output_tokens": null, "expected_spend_usd": 0.1}');
INSERT INTO public.decisions VALUES ('decision-2', '2026-11-22T23:24:58.080299Z', 's-1', 'task', 'careful', 'debugging', 'high', 'multi', 'new', 'fake-1', 'p-1', '{"kind": "task", "team": null, "codes": [], "model": "careful", "needs": [], "effort": null, "key_id": null, "limits": {}, "policy": null, "prompt": null, "record": "decision", "stakes": null, "sticky": false, "allowed": null, "context": null, "project": null, "reasons": ["High risk."], "agent_id": null, "excluded": [], "n_images": 0, "provider": "anthropic", "turn_key": "", "fallbacks": ["cheap"], "state_key": "", "assessment": {"risk": {"low": 0.1, "high": 0.8, "medium": 0.1}, "turn": {"new": 0.8, "follow": 0.1, "correct": 0.1}, "scope": {"file": 0.1, "repo": 0.1, "multi": 0.8}, "novelty": 0.2, "category": {"ui": 0.015384615384615385, "docs": 0.015384615384615385, "other": 0.015384615384615385, "tests": 0.015384615384615385, "review": 0.015384615384615385, "feature": 0.015384615384615385, "analysis": 0.015384615384615385, "security": 0.015384615384615385, "debugging": 0.8, "migration": 0.015384615384615385, "operation": 0.015384615384615385, "refactoring": 0.015384615384615385, "scaffolding": 0.015384615384615385, "infrastructure": 0.015384615384615385}, "model_version": "fake-1"}, "background": null, "created_at": "2026-11-22T23:24:58.080299Z", "latency_ms": {}, "session_id": "s-1", "decision_id": "decision-2", "n_documents": 0, "request_key": "", "client_model": null, "expected_cost": [{"model": "careful", "cached": 0.0, "effort": null, "switch": 0.0, "tokens": 0.1, "failure": 0.2, "failure_probability": 0.0}], "model_version": "fake-1", "context_tokens": 1000, "next_state_key": "", "policy_version": "p-1", "schema_version": 1, "catalog_version": "", "max_output_tokens": null, "expected_spend_usd": 0.1}');
INSERT INTO public.decisions VALUES ('decision-3', '2026-11-22T23:24:58.080436Z', 's-1', 'task', 'careful', 'debugging', 'high', 'multi', 'new', 'fake-1', 'p-1', '{"kind": "task", "team": null, "codes": [], "model": "careful", "needs": [], "effort": null, "key_id": null, "limits": {}, "policy": null, "prompt": null, "record": "decision", "stakes": null, "sticky": false, "allowed": null, "context": null, "project": null, "reasons": ["High risk."], "agent_id": null, "excluded": [], "n_images": 0, "provider": "anthropic", "turn_key": "", "fallbacks": ["cheap"], "state_key": "", "assessment": {"risk": {"low": 0.1, "high": 0.8, "medium": 0.1}, "turn": {"new": 0.8, "follow": 0.1, "correct": 0.1}, "scope": {"file": 0.1, "repo": 0.1, "multi": 0.8}, "novelty": 0.2, "category": {"ui": 0.015384615384615385, "docs": 0.015384615384615385, "other": 0.015384615384615385, "tests": 0.015384615384615385, "review": 0.015384615384615385, "feature": 0.015384615384615385, "analysis": 0.015384615384615385, "security": 0.015384615384615385, "debugging": 0.8, "migration": 0.015384615384615385, "operation": 0.015384615384615385, "refactoring": 0.015384615384615385, "scaffolding": 0.015384615384615385, "infrastructure": 0.015384615384615385}, "model_version": "fake-1"}, "background": null, "created_at": "2026-11-22T23:24:58.080436Z", "latency_ms": {}, "session_id": "s-1", "decision_id": "decision-3", "n_documents": 0, "request_key": "", "client_model": null, "expected_cost": [{"model": "careful", "cached": 0.0, "effort": null, "switch": 0.0, "tokens": 0.1, "failure": 0.2, "failure_probability": 0.0}], "model_version": "fake-1", "context_tokens": 1000, "next_state_key": "", "policy_version": "p-1", "schema_version": 1, "catalog_version": "", "max_output_tokens": null, "expected_spend_usd": 0.1}');
INSERT INTO public.decisions VALUES ('decision-4', '2026-11-22T23:24:58.080499Z', 's-1', 'task', 'careful', 'debugging', 'high', 'multi', 'new', 'fake-1', 'p-1', '{"kind": "task", "team": null, "codes": [], "model": "careful", "needs": [], "effort": null, "key_id": null, "limits": {}, "policy": null, "prompt": null, "record": "decision", "stakes": null, "sticky": false, "allowed": null, "context": null, "project": null, "reasons": ["High risk."], "agent_id": null, "excluded": [], "n_images": 0, "provider": "anthropic", "turn_key": "", "fallbacks": ["cheap"], "state_key": "", "assessment": {"risk": {"low": 0.1, "high": 0.8, "medium": 0.1}, "turn": {"new": 0.8, "follow": 0.1, "correct": 0.1}, "scope": {"file": 0.1, "repo": 0.1, "multi": 0.8}, "novelty": 0.2, "category": {"ui": 0.015384615384615385, "docs": 0.015384615384615385, "other": 0.015384615384615385, "tests": 0.015384615384615385, "review": 0.015384615384615385, "feature": 0.015384615384615385, "analysis": 0.015384615384615385, "security": 0.015384615384615385, "debugging": 0.8, "migration": 0.015384615384615385, "operation": 0.015384615384615385, "refactoring": 0.015384615384615385, "scaffolding": 0.015384615384615385, "infrastructure": 0.015384615384615385}, "model_version": "fake-1"}, "background": null, "created_at": "2026-11-22T23:24:58.080499Z", "latency_ms": {}, "session_id": "s-1", "decision_id": "decision-4", "n_documents": 0, "request_key": "", "client_model": null, "expected_cost": [{"model": "careful", "cached": 0.0, "effort": null, "switch": 0.0, "tokens": 0.1, "failure": 0.2, "failure_probability": 0.0}], "model_version": "fake-1", "context_tokens": 1000, "next_state_key": "", "policy_version": "p-1", "schema_version": 1, "catalog_version": "", "max_output_tokens": null, "expected_spend_usd": 0.1}');


--
-- Data for Name: feedback; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.feedback VALUES ('feedback-0', 'decision-0', '2026-11-22T23:24:58.080625Z', 'success', '{"labels": {}, "record": "feedback", "source": null, "comment": null, "outcome": "success", "cost_usd": null, "created_at": "2026-11-22T23:24:58.080625Z", "decision_id": "decision-0", "feedback_id": "feedback-0", "schema_version": 1}');
INSERT INTO public.feedback VALUES ('feedback-1', 'decision-0', '2026-11-22T23:24:58.080645Z', 'success', '{"labels": {}, "record": "feedback", "source": null, "comment": null, "outcome": "success", "cost_usd": null, "created_at": "2026-11-22T23:24:58.080645Z", "decision_id": "decision-0", "feedback_id": "feedback-1", "schema_version": 1}');
INSERT INTO public.feedback VALUES ('feedback-2', 'decision-0', '2026-11-22T23:24:58.080652Z', 'success', '{"labels": {}, "record": "feedback", "source": null, "comment": null, "outcome": "success", "cost_usd": null, "created_at": "2026-11-22T23:24:58.080652Z", "decision_id": "decision-0", "feedback_id": "feedback-2", "schema_version": 1}');


--
-- Name: alembic_version alembic_version_pkc; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);


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
-- Name: ix_decisions_created_at; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_decisions_created_at ON public.decisions USING btree (created_at);


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
-- Name: feedback fk_feedback_decision_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.feedback
    ADD CONSTRAINT fk_feedback_decision_id FOREIGN KEY (decision_id) REFERENCES public.decisions(decision_id);


--
-- PostgreSQL database dump complete
--

\unrestrict FzPAsWtYcFZqJiTivEgDxnKaO6ShkMMmHCeCs8ofNyIHvjUq0DwhjPnhUQtkuP3

