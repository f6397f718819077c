"""Sequences of many binary outputs a step, such as music: what they are, and their files."""
