"""Assignments for a class, handed out, checked and graded by nbgrader, made safe for a class."""
