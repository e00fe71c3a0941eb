"""What to ask and when: lengths, prompts, arrival processes, traces, scenarios."""
